// SPDX-License-Identifier: MIT
// An adapter as plain data, whatever library wrote it and whatever model it goes into: the readers of
// foreign folders make one, put_adapter (io/adapter.hpp) fills a model from it, the writers and
// io/combine.hpp take it.
#pragma once

#include <graft/core/numbers.hpp>
#include <graft/core/view.hpp>
#include <graft/io/stored_matrix.hpp>
#include <graft/model/task_classifier.hpp>
#include <graft/model/task_kind.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace graft {

// Which base a model was built on: a name for people, a fingerprint for the loader; empty where a folder
// does not tell.
struct base_identity {
  std::string name;
  std::string fingerprint;
};

// A method at one place: its numbers, and what of its options is structure, named and spelled as its
// describe() does ("place": "parallel", "gating": "false").
struct adapter_decoration {
  decoration_numbers numbers;
  std::map<std::string, std::string, std::less<>> form;
};

// Some entries of a table that are others under this adapter (PEFT's trainable tokens).
struct replaced_rows {
  std::vector<index_t> entries;
  stored_matrix rows;  // one for each
};

// | member      | meaning                                                                           |
// | source      | the file that describes it, for messages                                          |
// | values      | … and the one that has its tensors                                                |
// | decorations | by the path of the layer that is decorated, then by method                        |
// | tensors     | by parameter path (layer.0.attention.query.lora.a): what is trained, and the base's |
// |             | own parameters that are others under this adapter (head.classifier.weight)        |
// | rows        | by parameter path                                                                 |
// | departed    | paths of `tensors` and `rows` that the tuning may have frozen                     |
// | partial     | the base's own parameters that are not in it are as the base has them             |
// | task        | of the head in it or, without one, that it was trained under; none: of no head    |
// | labels      | of that head, empty where they are not known                                      |
// | notes       | what a person should know: inert keys that were ignored, suspicious values        |
struct adapter_data {
  std::string source, values;
  std::map<std::string, std::map<std::string, adapter_decoration>> decorations;
  std::map<std::string, stored_matrix> tensors;
  std::map<std::string, replaced_rows> rows;
  std::set<std::string> departed;
  bool partial = false;
  std::optional<task_kind> task;
  std::vector<std::string> labels;
  std::vector<graft::task> tasks;  // of a model with several heads
  std::uint64_t seed = 0;          // of what neither the base nor the adapter holds
  base_identity base;
  std::vector<std::string> notes;
};

}  // namespace graft
