// SPDX-License-Identifier: MIT
// Asks a graft-serve over and over, from N connections at a time, each of one text of about 16
// words under one of the first A adapters a0, a1, …; prints JSON.
//   graft-bench-serve-load PORT CONNECTIONS ADAPTERS SECONDS
#include "support/measure.hpp"

#include <graft/core/random.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace {

constexpr std::array<const char*, 12> words{"the",  "film",  "is",   "a",      "story", "of",
                                            "very", "quiet", "long", "people", "and",   "good"};

std::string request_of(std::uint64_t adapters, graft::random_stream& random) {
  std::string body =
      "{\"adapter\":\"a" + std::to_string(random.below(adapters)) + "\",\"texts\":[\"";
  for (std::uint64_t n = 8 + random.below(17); n-- > 0;)
    body += std::string(words[random.below(words.size())]) + " ";
  body += "\"]}";
  return "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// What the server on a port of this machine says, until it hangs up.
std::string ask(std::uint16_t port, const std::string& request) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string reply;
  if (socket >= 0 && connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 &&
      send(socket, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    char part[4096];
    for (ssize_t n; (n = recv(socket, part, sizeof part, 0)) > 0;)
      reply.append(part, static_cast<std::size_t>(n));
  }
  close(socket);
  return reply;
}

// How long each request of one connection after another took, until `end`.
std::vector<double> ask_until(double end, std::uint16_t port, std::uint64_t adapters,
                              std::uint64_t seed, std::size_t& failed) {
  graft::random_stream random(seed);
  std::vector<double> seconds;
  for (double now = graft_bench::seconds_now(); now < end;) {
    const std::string reply = ask(port, request_of(adapters, random));
    const double then = graft_bench::seconds_now();
    if (reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("}\n"))
      seconds.push_back(then - now);
    else
      ++failed;
    now = then;
  }
  return seconds;
}

nlohmann::json measure(std::uint16_t port, std::size_t connections, std::uint64_t adapters,
                       double length) {
  std::vector<std::vector<double>> each(connections);
  std::vector<std::size_t> failed(connections);
  std::vector<std::thread> threads;
  const double start = graft_bench::seconds_now();
  for (std::size_t i = 0; i < connections; ++i)
    threads.emplace_back(
        [&, i] { each[i] = ask_until(start + length, port, adapters, i + 1, failed[i]); });
  for (auto& t : threads)
    t.join();
  const double took = graft_bench::seconds_now() - start;
  std::vector<double> all;
  for (const auto& one : each)
    all.insert(all.end(), one.begin(), one.end());
  std::size_t failures = 0;
  for (const std::size_t n : failed)
    failures += n;
  if (all.empty())
    throw std::runtime_error("no request was answered");
  std::sort(all.begin(), all.end());
  const auto quantile = [&](double q) {
    const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(all.size())));
    return all[std::max<std::size_t>(rank, 1) - 1];
  };
  return {{"connections", connections},
          {"adapters", adapters},
          {"requests", all.size()},
          {"failed", failures},
          {"requests_per_second", static_cast<double>(all.size()) / took},
          {"median_seconds", quantile(0.5)},
          {"p99_seconds", quantile(0.99)},
          {"slowest_seconds", all.back()}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: graft-bench-serve-load PORT CONNECTIONS ADAPTERS SECONDS\n";
    return 2;
  }
  try {
    std::cout << measure(static_cast<std::uint16_t>(std::stoi(argv[1])), std::stoul(argv[2]),
                         std::stoul(argv[3]), std::stod(argv[4]))
              << "\n";
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
