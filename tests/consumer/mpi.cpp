// SPDX-License-Identifier: MIT
// A user's program that needs graft::mpi, as the only process.
#include <graft/mpi/mpi_group.hpp>

#include <span>

int main() {
  const graft::mpi_session session;
  graft::mpi_group group;
  float value = 3;
  group.sum(std::span(&value, 1));
  return group.size() == 1 && value == 3 ? 0 : 1;
}
