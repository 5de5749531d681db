// two-hosts-link.cpp: of two-hosts.sh, which compiles it. Delays what passes between two network namespaces, and
// measures how long a message takes there and back, and how much TCP gets through.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint16_t kPort = 7411;
constexpr std::chrono::seconds kSending{2};

int check(int result, const std::string& what) {
  if (result >= 0) return result;
  std::fprintf(stderr, "two-hosts.sh: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

// An end of the link, in the network namespace that the process is in. It takes what TCP sends in pieces of up to 64
// kB, as between the ends of a veth pair: a few thousand of them are 1 Gbit/s.
int open_end(const char* name) {
  const int end = check(open("/dev/net/tun", O_RDWR | O_NONBLOCK), "/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  check(ioctl(end, TUNSETIFF, &request), "the link's end can't be made");
  check(ioctl(end, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), "the link's end can't take long segments");
  return end;
}

struct Frame {
  Clock::time_point due;
  std::vector<char> bytes;
};

// What has come in at one end and is to go out at the other.
struct Direction {
  int from;
  int to;
  std::deque<Frame> frames;

  void take(std::chrono::microseconds delay) {
    static char buffer[1 << 17];
    ssize_t length = 0;
    // Not for ever, where more and more comes in: others are due.
    for (int taken = 0; taken < 64 && (length = read(from, buffer, sizeof buffer)) > 0; ++taken) {
      frames.push_back({Clock::now() + delay, std::vector<char>(buffer, buffer + length)});
    }
  }

  // A frame that its end does not take, as one that is down, is lost.
  void give() {
    while (!frames.empty() && frames.front().due <= Clock::now()) {
      const std::vector<char>& bytes = frames.front().bytes;
      [[maybe_unused]] const ssize_t written = write(to, bytes.data(), bytes.size());
      frames.pop_front();
    }
  }
};

// Until it is killed.
[[noreturn]] void delay(const char* name, const std::string& other_process, std::chrono::microseconds delay) {
  const int here = open_end(name);
  const std::string path = "/proc/" + other_process + "/ns/net";
  check(setns(check(open(path.c_str(), O_RDONLY), path), CLONE_NEWNET), path);
  const int there = open_end(name);
  std::puts("ready");
  std::fflush(stdout);
  Direction directions[2] = {{here, there, {}}, {there, here, {}}};
  for (;;) {
    int64_t due = 999999999;
    for (const Direction& direction : directions) {
      if (direction.frames.empty()) continue;
      const int64_t left = std::chrono::nanoseconds(direction.frames.front().due - Clock::now()).count();
      due = std::clamp<int64_t>(left, 0, due);
    }
    pollfd ends[2] = {{here, POLLIN, 0}, {there, POLLIN, 0}};
    const timespec wait{0, due};
    ppoll(ends, 2, &wait, nullptr);
    for (Direction& direction : directions) {
      direction.take(delay);
      direction.give();
    }
  }
}

sockaddr_in address_of(const char* text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

void send_all(int socket, const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t sent = check(static_cast<int>(send(socket, data, bytes, MSG_NOSIGNAL)), "send");
    data += sent, bytes -= static_cast<size_t>(sent);
  }
}

// Gives back each byte of the first connection, and takes all of the second, and then says how much that was.
void serve() {
  const int listening = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
  const sockaddr_in address = address_of("0.0.0.0");
  check(bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  check(listen(listening, 2), "listen");
  std::puts("ready");
  std::fflush(stdout);
  static char buffer[1 << 18];
  ssize_t length = 0;
  const int on = 1;
  const int echoed = check(accept(listening, nullptr, nullptr), "accept");
  setsockopt(echoed, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  while ((length = read(echoed, buffer, sizeof buffer)) > 0) send_all(echoed, buffer, static_cast<size_t>(length));
  const int taken = check(accept(listening, nullptr, nullptr), "accept");
  while (read(taken, buffer, sizeof buffer) > 0) {
  }
  send_all(taken, buffer, 1);
}

int connected(const char* to) {
  const int made = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
  const sockaddr_in address = address_of(to);
  check(connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof address), std::string("connect to ") + to);
  const int on = 1;
  setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return made;
}

double seconds_since(Clock::time_point began) { return std::chrono::duration<double>(Clock::now() - began).count(); }

void measure(const char* to) {
  const int echoed = connected(to);
  std::vector<double> times;
  char byte = 0;
  for (int i = 0; i < 21; ++i) {
    const auto began = Clock::now();
    send_all(echoed, &byte, 1);
    check(static_cast<int>(read(echoed, &byte, 1)), "read");
    times.push_back(seconds_since(began));
  }
  close(echoed);
  std::sort(times.begin(), times.end());

  const int taking = connected(to);
  static const char zeros[1 << 18] = {};
  const auto began = Clock::now();
  double sent = 0;
  while (Clock::now() - began < kSending) send_all(taking, zeros, sizeof zeros), sent += sizeof zeros;
  shutdown(taking, SHUT_WR);
  check(static_cast<int>(read(taking, &byte, 1)), "read");
  std::printf("there and back in %.2f ms, %.0f Mbit/s by TCP\n", 1e3 * times[times.size() / 2],
              8e-6 * sent / seconds_since(began));
}

}  // namespace

int main(int count, char** words) {
  const std::string verb = count > 1 ? words[1] : "";
  if (verb == "delay" && count == 5) delay(words[2], words[3], std::chrono::microseconds(std::atoll(words[4])));
  if (verb == "serve" && count == 2) return serve(), 0;
  if (verb == "measure" && count == 3) return measure(words[2]), 0;
  std::fputs("usage: link delay NAME PROCESS MICROSECONDS | link serve | link measure ADDRESS\n", stderr);
  return 2;
}
