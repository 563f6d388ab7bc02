// SPDX-License-Identifier: MIT
// A model on a GPU, in a file that an ordinary compiler reads.
#include <graft/cuda.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct sentiment {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 8, .alpha = 16}),
                                on(at::head, train{})};
};
using classifier = bert_classifier<cuda<bf16>, sentiment>;
static_assert(std::is_same_v<gradient_t<frozen<linear<cuda<bf16>>>>, nothing>);

index_t trained_numbers() {
  bert_config c;
  c.width = 16;
  c.layers = 2;
  c.heads = 2;
  c.inner = 32;
  c.vocabulary = 40;
  c.positions = 20;
  return classifier(c, {"no", "yes"}).parameters.count();
}
