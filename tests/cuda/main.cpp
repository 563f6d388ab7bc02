// SPDX-License-Identifier: MIT
// The entry point of the tests on a GPU: without one they are skipped.
#include <graft/backend/cuda/cuda_device.hpp>

#include <cstdio>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

int main(int argc, char* argv[]) {
  if (!graft::has_cuda_device()) {
    std::puts("skipped: no CUDA device answers");
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
