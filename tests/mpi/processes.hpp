// SPDX-License-Identifier: MIT
// The processes that mpirun started this test program in. A check that fails in one of them is an
// error of all; what only some of them call, the others wait for.
#pragma once

#include <graft/mpi/mpi_group.hpp>

namespace graft_test {

inline graft::mpi_group& processes() {
  static const graft::mpi_session session;
  static graft::mpi_group group;
  return group;
}

}  // namespace graft_test
