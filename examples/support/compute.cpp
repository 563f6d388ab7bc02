// SPDX-License-Identifier: MIT
#include "support/compute.hpp"

#include <algorithm>
#include <vector>

namespace programs {

namespace {

#ifdef GRAFT_PROGRAM_NUMBERS
template <class... T>
std::vector<std::string_view> names_of_precisions() {
  return {detail::precision_name<T>()...};
}

void check_cuda(const compute& c) {
  const auto built = names_of_precisions<GRAFT_PROGRAM_NUMBERS>();
  if (std::find(built.begin(), built.end(), c.precision) == built.end()) {
    std::string list;
    for (const auto name : built)
      list.append(list.empty() ? "" : ", ").append(name);
    throw graft::error("--precision " + c.precision + ": this build has " + list +
                       " with --backend cuda: configure with -DGRAFT_GPU_PRECISIONS=...");
  }
  if (!graft::has_cuda_device())
    throw graft::error("--backend cuda: no CUDA device answers");
}
#else
void check_cuda(const compute&) {
  throw graft::error("--backend cuda: this build has none: configure with -DGRAFT_CUDA=ON");
}
#endif

}  // namespace

void add_compute(CLI::App& app, compute& c) {
  app.add_option("--backend", c.backend,
                 "Where to compute: cpu, or cuda, a GPU, in a build that has it")
      ->capture_default_str()
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--precision", c.precision,
                 "Numbers of activations and frozen weights: f32, with cuda also bf16 and f16. What "
                 "is trained is f32 always")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
}

void check_compute(const compute& c) {
  if (c.backend == "cuda")
    check_cuda(c);
  else if (c.precision != "f32")
    throw CLI::ValidationError("--precision " + c.precision,
                               "the CPU computes in f32 alone, --backend cuda in f32, bf16 and f16");
}

std::string options_of(const compute& c) {
  const compute usual;
  std::string options;
  if (c.backend != usual.backend)
    options += " --backend " + c.backend;
  if (c.precision != usual.precision)
    options += " --precision " + c.precision;
  return options;
}

}  // namespace programs
