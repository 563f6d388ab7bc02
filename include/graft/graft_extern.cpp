// SPDX-License-Identifier: MIT
// The plain functions, compiled once for a program whose other files define GRAFT_EXTERN (core/plain.hpp).
#ifndef GRAFT_EXTERN
#define GRAFT_EXTERN
#endif
#define GRAFT_EXTERN_HERE
#include <graft/backend/host.hpp>
#include <graft/backend/thread_pool.hpp>
#include <graft/graft.hpp>
#include <graft/io/event_file.hpp>
#include <graft/io/snapshot.hpp>
#include <graft/train/splits.hpp>

template class graft::workspace_over<graft::host_memory>;
