// numbers.inl: float32 as the loops read, write and multiply it. Part of conv.inl.

// Numbers in memory are floats in registers.
template <int64_t kLanes>
Vector<kLanes> numbers_at(const float* p) {
  return at<kLanes>(p);
}
template <int64_t kLanes>
void put_numbers(float* p, Vector<kLanes> values) {
  at<kLanes>(p) = values;
}

// One factor of a product: of each lane, and one for all of them.
template <int64_t kLanes>
Vector<kLanes> operand(const float* p) {
  return at<kLanes>(p);
}
template <int64_t kLanes>
float common_operand(const float* p) {
  return *p;
}
template <int64_t kLanes>
void add_product(Vector<kLanes>& sum, const Vector<kLanes>& a, float b) {
  sum += a * b;
}
