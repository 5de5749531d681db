// points.inl: Winograd's algorithms F(2, 3) and F(4, 3) in one dimension (Lavin and Gray, arXiv 1509.09308): two or
// four outputs of a convolution by three taps from four or six multiplications. Each evaluates polynomials at some
// points and infinity, multiplies, and interpolates. Part of conv.inl.
//
//   outputs = At [ (G w) . (Bt d) ]      w the taps, d the inputs, . the product of equal positions
//   taps    = Gt [ (A g) . (Bt d) ]      g the outputs' gradients

// So many outputs from kTaken = kPixels + 2 inputs, at positions of a tile of kTile outputs: where kPixels are fewer,
// fewer of the same points are taken, so that both have the same weights.
template <int64_t kTile, int64_t kPixels = kTile>
struct Points;

// 0, 1 and -1.
template <>
struct Points<2> {
  static constexpr int64_t kTaken = 4;
  // Which position of a tile the i-th is.
  static constexpr int64_t position(int64_t i) { return i; }

  // v = Bt d.
  template <typename V>
  static void inputs(V* v, const V* d) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  // v = A g.
  template <typename V>
  static void gradients(V* v, const V* g) {
    v[0] = g[0];
    v[1] = g[0] + g[1];
    v[2] = g[0] - g[1];
    v[3] = g[1];
  }
  // y = At m.
  template <typename V>
  static void outputs(V* y, const V* m) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) + m[3];
  }
  // v = G w.
  template <typename V>
  static void weights(V* v, const V* w) {
    const V sum = 0.5f * (w[0] + w[2]), half = 0.5f * w[1];
    v[0] = w[0];
    v[1] = sum + half;
    v[2] = sum - half;
    v[3] = w[2];
  }
  // w = Gt s.
  template <typename V>
  static void sums(V* w, const V* s) {
    const V sum = 0.5f * (s[1] + s[2]);
    w[0] = s[0] + sum;
    w[1] = 0.5f * (s[1] - s[2]);
    w[2] = sum + s[3];
  }
};

// 0, a, -a, b and -b. With 5/8 and 3/2 less than half as much is lost to rounding as with the usual 1 and 2, and the
// inputs' factors are exact.
template <>
struct Points<4> {
  static constexpr int64_t kTaken = 6;
  static constexpr int64_t position(int64_t i) { return i; }
  static constexpr float a = 0.625f, b = 1.5f, a2 = a * a, b2 = b * b, a3 = a2 * a, b3 = b2 * b;
  // The products of a point's distances from the others.
  static constexpr float by_0 = 1 / (a2 * b2), by_a = 1 / (2 * a2 * (a2 - b2)), by_b = 1 / (2 * b2 * (b2 - a2));

  template <typename V>
  static void inputs(V* v, const V* d) {
    const V even_a = d[4] - b2 * d[2], odd_a = d[3] - b2 * d[1];
    const V even_b = d[4] - a2 * d[2], odd_b = d[3] - a2 * d[1];
    v[0] = (a2 * b2) * d[0] + (d[4] - (a2 + b2) * d[2]);
    v[1] = even_a + a * odd_a;
    v[2] = even_a - a * odd_a;
    v[3] = even_b + b * odd_b;
    v[4] = even_b - b * odd_b;
    v[5] = (a2 * b2) * d[1] + (d[5] - (a2 + b2) * d[3]);
  }
  template <typename V>
  static void gradients(V* v, const V* g) {
    const V even_a = g[0] + a2 * g[2], odd_a = g[1] + a2 * g[3];
    const V even_b = g[0] + b2 * g[2], odd_b = g[1] + b2 * g[3];
    v[0] = g[0];
    v[1] = even_a + a * odd_a;
    v[2] = even_a - a * odd_a;
    v[3] = even_b + b * odd_b;
    v[4] = even_b - b * odd_b;
    v[5] = g[3];
  }
  template <typename V>
  static void outputs(V* y, const V* m) {
    const V sum_a = m[1] + m[2], difference_a = m[1] - m[2], sum_b = m[3] + m[4], difference_b = m[3] - m[4];
    y[0] = m[0] + (sum_a + sum_b);
    y[1] = a * difference_a + b * difference_b;
    y[2] = a2 * sum_a + b2 * sum_b;
    y[3] = a3 * difference_a + (b3 * difference_b + m[5]);
  }
  template <typename V>
  static void weights(V* v, const V* w) {
    const V even_a = by_a * (w[0] + a2 * w[2]), odd_a = (by_a * a) * w[1];
    const V even_b = by_b * (w[0] + b2 * w[2]), odd_b = (by_b * b) * w[1];
    v[0] = by_0 * w[0];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = w[2];
  }
  template <typename V>
  static void sums(V* w, const V* s) {
    const V sum_a = by_a * (s[1] + s[2]), sum_b = by_b * (s[3] + s[4]);
    w[0] = by_0 * s[0] + (sum_a + sum_b);
    w[1] = (by_a * a) * (s[1] - s[2]) + (by_b * b) * (s[3] - s[4]);
    w[2] = a2 * sum_a + (b2 * sum_b + s[5]);
  }
};

// 0, a and -a of these: F(2, 3). The weights' factors are those of F(4, 3), and the inputs' make up for them.
template <>
struct Points<4, 2> {
  static constexpr int64_t kTaken = 4;
  static constexpr int64_t position(int64_t i) { return i < 3 ? i : 5; }
  static constexpr float a = Points<4>::a, a2 = Points<4>::a2, b2 = Points<4>::b2;

  template <typename V>
  static void inputs(V* v, const V* d) {
    const V even = (a2 - b2) * d[2], odd = (a * (a2 - b2)) * d[1];
    v[0] = (a2 * b2) * d[0] - b2 * d[2];
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = d[3] - a2 * d[1];
  }
  template <typename V>
  static void gradients(V* v, const V* g) {
    const V odd = a * g[1];
    v[0] = g[0];
    v[1] = g[0] + odd;
    v[2] = g[0] - odd;
    v[3] = g[1];
  }
  template <typename V>
  static void outputs(V* y, const V* m) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = a * (m[1] - m[2]) + m[3];
  }
};

// Whether short tiles lack this position of whole ones of six.
constexpr bool lacks_position(int64_t of_six) { return of_six == 3 || of_six == 4; }

// How many tiles have position p.
inline int64_t tiles_at(const TileCounts& tiles, int64_t p, int64_t positions) {
  return positions == 36 ? tiles.of[lacks_position(p / 6)][lacks_position(p % 6)] : tiles.of[0][0];
}

// body.operator()<pixels of a tile's side>() for this many positions. Numbers that are multiplied in pairs are too
// narrow for tiles of four.
template <typename Number, typename Body>
void with_tile(int64_t positions, const Body& body) {
  if constexpr (kDepth<Number> == 1) {
    if (positions == 36) return body.template operator()<4>();
  }
  body.template operator()<2>();
}
