// SPDX-License-Identifier: MIT
// The second of some processes is lost while the others wait for it: it is `killed`, an exception
// `leaves` it, or it `aborts` all.
#include <graft/mpi/mpi_group.hpp>

#include <csignal>
#include <cstdio>
#include <span>
#include <string>

int main(int argc, char** argv) {
  const std::string how = argc > 1 ? argv[1] : "";
  try {
    const graft::mpi_session session;
    graft::mpi_group group;
    if (group.rank() == 1) {
      std::puts("a process is lost");
      std::fflush(stdout);
      if (how == "killed")
        std::raise(SIGKILL);
      if (how == "leaves")
        throw graft::error("this process cannot go on");
      if (how == "aborts")
        session.abort(7);
    }
    float value = 1;
    group.sum(std::span(&value, 1));
  } catch (const graft::error&) {
  }
  std::puts("a process went on");
}
