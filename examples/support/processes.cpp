// SPDX-License-Identifier: MIT
#include "support/processes.hpp"

#include <graft/core/error.hpp>

#include <cstdlib>
#include <span>
#include <string>

#ifdef GRAFT_MPI
#include <graft/mpi/mpi_group.hpp>
#endif

namespace programs {

namespace {

// Open MPI, MPICH and their like tell a process how many they are; those that start it by PMIx do not.
bool begun_by_mpirun() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char* size = std::getenv(name))
      return std::atoi(size) > 1;
  return std::getenv("PMIX_RANK") != nullptr;
}

}  // namespace

#ifdef GRAFT_MPI

struct processes::running {
  graft::mpi_session session;
  graft::mpi_group group;
};

processes::processes() {
  if (begun_by_mpirun())
    running_ = std::make_unique<running>();
}
graft::process_group* processes::group() const { return running_ ? &running_->group : nullptr; }
int processes::end(int code) {
  if (running_ && code != 0)
    running_->session.abort(code);
  return code;
}

#else

struct processes::running {};

processes::processes() {
  if (begun_by_mpirun())
    throw graft::error("mpirun: expected a program built with -DGRAFT_MPI=ON, found one without");
}
graft::process_group* processes::group() const { return nullptr; }
int processes::end(int code) { return code; }

#endif

processes::~processes() = default;

void processes::meet() {
  double nothing = 0;
  if (group())
    group()->sum(std::span(&nothing, 1));
}

}  // namespace programs
