// SPDX-License-Identifier: MIT
// Processes that MPI started: they begin and end together, add up their values and hand them
// around.
#pragma once

#include <graft/core/error.hpp>
#include <graft/train/process_group.hpp>

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <span>
#include <string>
#include <vector>

namespace graft {

namespace detail {

// `call` names the function of MPI that returned `code`.
inline void check_mpi(const char* call, int code) {
  if (code == MPI_SUCCESS)
    return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS)
    length = 0;
  throw error(std::string(call) + ": " +
              (length > 0 ? std::string(text.data(), static_cast<std::size_t>(length))
                          : "error " + std::to_string(code)));
}

inline MPI_Datatype mpi_type(float) { return MPI_FLOAT; }
inline MPI_Datatype mpi_type(double) { return MPI_DOUBLE; }

}  // namespace detail

// MPI from here to the end of the scope; one in a program, in the thread that trains. Threads of a
// backend may compute meanwhile.
//
// A process that gives up alone would leave the others waiting for it. One that dies takes them
// along: mpirun ends them. One that fails and still runs must end them by `abort`, and an exception
// that leaves the scope does so too: let it live outside the `try` whose handler says what
// happened.
//
// Throws error when MPI cannot be started or has been before.
class mpi_session {
 public:
  mpi_session() {
    int before = 0;
    detail::check_mpi("MPI_Initialized", MPI_Initialized(&before));
    if (before)
      throw error("mpi_session: MPI has been started already");
    int threads = MPI_THREAD_SINGLE;
    detail::check_mpi("MPI_Init_thread",
                      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &threads));
    if (threads < MPI_THREAD_FUNNELED) {
      MPI_Finalize();
      throw error(
          "MPI_Init_thread: expected an MPI that allows threads beside it, found one that "
          "does not");
    }
  }
  mpi_session(mpi_session&&) = delete;
  ~mpi_session() {
    if (std::uncaught_exceptions() > exceptions_)
      abort(1);
    MPI_Finalize();
  }

  // Ends all processes; mpirun's exit status is `code`.
  [[noreturn]] void abort(int code) const {
    MPI_Abort(MPI_COMM_WORLD, code);
    std::abort();
  }

 private:
  int exceptions_ = std::uncaught_exceptions();
};

// The processes of a communicator, by one of its own. All of them must make the same calls in the
// same order, with equal sizes. To be gone before MPI ends. Throws error with MPI's words when a
// call fails; the others may wait for this process then (mpi_session).
class mpi_group final : public process_group {
 public:
  explicit mpi_group(MPI_Comm of = MPI_COMM_WORLD) {
    detail::check_mpi("MPI_Comm_dup", MPI_Comm_dup(of, &processes_));
    MPI_Comm_set_errhandler(processes_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(processes_, &rank_);
    MPI_Comm_size(processes_, &size_);
  }
  mpi_group(mpi_group&&) = delete;
  ~mpi_group() override { MPI_Comm_free(&processes_); }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void sum(std::span<float> values) override { sum(values, floats_); }
  void sum(std::span<double> values) override { sum(values, doubles_); }
  void broadcast(std::span<std::byte> bytes, int from) override {
    for_each_piece(bytes, most_bytes, [&](std::span<std::byte> piece) {
      detail::check_mpi("MPI_Bcast", MPI_Bcast(piece.data(), static_cast<int>(piece.size()),
                                               MPI_BYTE, from, processes_));
    });
  }

 private:
  template <class T>
  struct scratch {
    std::vector<T> blocks, received;
  };

  // f(piece) for one piece after another; MPI counts in int.
  template <class T, class F>
  static void for_each_piece(std::span<T> values, std::size_t most, F f) {
    for (std::size_t from = 0; from < values.size(); from += most)
      f(values.subspan(from, std::min(most, values.size() - from)));
  }

  // A piece is cut into a block for every process. Each gets its own block of all others, adds them
  // in the order of ranks and hands the sum to all. So a value is added up by one process, in one
  // order, whatever algorithms MPI prefers and wherever blocks begin: the same bits for all. Each
  // process sends and receives 2 (N − 1) / N of the bytes, the least that N can do with (Patarasu
  // and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009).
  template <class T>
  void sum(std::span<T> values, scratch<T>& memory) {
    if (size_ > 1)
      for_each_piece(values, most_values,
                     [&](std::span<T> piece) { sum_piece(piece, memory.blocks, memory.received); });
  }

  template <class T>
  void sum_piece(std::span<T> piece, std::vector<T>& blocks, std::vector<T>& received) {
    const auto processes = static_cast<std::size_t>(size_);
    const std::size_t block = (piece.size() + processes - 1) / processes;
    const int count = static_cast<int>(block);
    const MPI_Datatype type = detail::mpi_type(T{});
    blocks.resize(processes * block);
    received.resize(processes * block);
    std::copy(piece.begin(), piece.end(), blocks.begin());
    detail::check_mpi("MPI_Alltoall", MPI_Alltoall(blocks.data(), count, type, received.data(),
                                                   count, type, processes_));
    for (std::size_t p = 1; p < processes; ++p)
      for (std::size_t i = 0; i < block; ++i)
        received[i] += received[p * block + i];
    detail::check_mpi("MPI_Allgather", MPI_Allgather(received.data(), count, type, blocks.data(),
                                                     count, type, processes_));
    std::copy_n(blocks.begin(), piece.size(), piece.begin());
  }

  static constexpr std::size_t most_values = std::size_t{1} << 20;
  static constexpr std::size_t most_bytes = std::size_t{1} << 22;

  MPI_Comm processes_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  scratch<float> floats_;
  scratch<double> doubles_;
};

}  // namespace graft
