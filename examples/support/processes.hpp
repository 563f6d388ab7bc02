// SPDX-License-Identifier: MIT
// The processes that mpirun began, which train one model together; otherwise this one alone.
#pragma once

#include <graft/train/process_group.hpp>

#include <memory>

namespace programs {

// Lives as long as main, outside of what may fail.
class processes {
 public:
  // Begins MPI where mpirun began this program. Throws graft::error when the program was built without.
  processes();
  ~processes();
  processes(processes&&) = delete;

  graft::process_group* group() const;  // null for one alone
  bool first() const { return !group() || group()->rank() == 0; }
  // Nobody goes on before all are here.
  void meet();
  // The exit code of main: one that is not 0 ends the others, too.
  int end(int code);

 private:
  struct running;
  std::unique_ptr<running> running_;
};

}  // namespace programs
