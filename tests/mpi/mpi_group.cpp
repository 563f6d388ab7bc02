// SPDX-License-Identifier: MIT
// mpi/mpi_group.hpp, in as many processes as mpirun starts. How processes are lost is in
// support/lost_process.cpp.
#include <graft/core/random.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "mpi/processes.hpp"
#include "support/catch.hpp"

namespace graft_test {

namespace {

using namespace graft;
using Catch::Matchers::Contains;

// Numbers of a process, of so many sizes that the order of adding them shows. They recur.
template <class T>
std::vector<T> numbers_of(int rank, std::size_t count) {
  random_stream random(static_cast<std::uint64_t>(rank) + 1, 7);
  std::vector<T> numbers(count);
  for (std::size_t i = 0; i < count; ++i)
    numbers[i] = i < 1009 ? static_cast<T>(random.normal() * std::exp(5 * random.normal()))
                          : numbers[i - 1009];
  return numbers;
}

// Those of the processes from `first` to `last`, added in this order.
template <class T>
std::vector<T> added(int first, int last, std::size_t count) {
  std::vector<T> sum = numbers_of<T>(first, count);
  const int step = first < last ? 1 : -1;
  for (int rank = first; rank != last; rank += step) {
    const auto more = numbers_of<T>(rank + step, count);
    for (std::size_t i = 0; i < count; ++i)
      sum[i] += more[i];
  }
  return sum;
}

std::vector<std::byte> bytes_of(int rank, std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>(i % 251 + static_cast<std::size_t>(rank));
  return bytes;
}

}  // namespace

TEMPLATE_TEST_CASE("every process has the sum of all, added in the order of their ranks", "", float,
                   double) {
  process_group& group = processes();
  const int last = group.size() - 1;
  CHECK(last >= 1);
  // Fewer than processes, a piece, more than that.
  for (const std::size_t count : {0u, 1u, 2u, 3u, 5u, 64u, 1001u, 1u << 20, (1u << 20) + 13}) {
    INFO(count);
    std::vector<TestType> values = numbers_of<TestType>(group.rank(), count);
    group.sum(std::span<TestType>(values));
    const bool in_order = values == added<TestType>(0, last, count);
    CHECK(in_order);
    if (last > 1 && count > 1000)
      CHECK(values != added<TestType>(last, 0, count));  // the order matters to these numbers
  }
}

TEST_CASE("values beside those that are summed stay as they are") {
  std::vector<double> values{1, 2, 3, 4};
  processes().sum(std::span(values).subspan(1, 2));
  const double n = processes().size();
  CHECK(values == std::vector<double>{1, 2 * n, 3 * n, 4});
}

TEST_CASE("a broadcast gives all processes what one of them has") {
  process_group& group = processes();
  for (int from = 0; from < group.size(); ++from)
    for (const std::size_t count : {0u, 1u, 7u, 4097u, (1u << 22) + 5}) {
      INFO(count << " bytes from " << from);
      std::vector<std::byte> bytes = bytes_of(group.rank(), count);
      group.broadcast(bytes, from);
      const bool same = bytes == bytes_of(from, count);
      CHECK(same);
    }
}

TEST_CASE("some of the processes can be a group of their own") {
  const int rank = processes().rank();
  MPI_Comm parity = MPI_COMM_NULL;
  REQUIRE(MPI_Comm_split(MPI_COMM_WORLD, rank % 2, 0, &parity) == MPI_SUCCESS);
  {
    mpi_group group(parity);
    CHECK(group.size() == (processes().size() + 1 - rank % 2) / 2);
    CHECK(group.rank() == rank / 2);
    float value = 1;
    group.sum(std::span(&value, 1));
    CHECK(value == static_cast<float>(group.size()));
  }
  MPI_Comm_free(&parity);
}

TEST_CASE("what MPI refuses is an error with its words") {
  std::vector<std::byte> bytes(3);
  CHECK_THROWS_WITH(processes().broadcast(bytes, 99),
                    Contains("graft: MPI_Bcast: ") && Contains("root"));
  float value = static_cast<float>(processes().rank());
  processes().sum(std::span(&value, 1));  // goes on
  CHECK(value == static_cast<float>(processes().size() * (processes().size() - 1) / 2));
}

TEST_CASE("MPI is started once") {
  processes();
  CHECK_THROWS_WITH(mpi_session(), Contains("started already"));
}

}  // namespace graft_test
