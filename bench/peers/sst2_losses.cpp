// SPDX-License-Identifier: MIT
// The losses of the steps that sst2_losses.py laid down: batches, labels and initial values come
// from its file. Prints a JSON list.
//   graft-bench-sst2-losses FOLDER PLAN
#include "support/training.hpp"

#include <graft/cpu.hpp>

#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using namespace graft_bench;

const graft::tensor_entry& entry(const graft::safetensors_file& plan, const std::string& name) {
  const graft::tensor_entry* found = plan.find(name);
  if (!found)
    throw graft::checkpoint_error("plan: expected a tensor " + name + ", found none");
  return *found;
}

std::vector<std::int32_t> integers(const graft::safetensors_file& plan, const std::string& name) {
  const graft::tensor_entry& found = entry(plan, name);
  if (found.type != graft::dtype::i32)
    throw graft::checkpoint_error("plan: " + name + ": expected I32, found " +
                                  std::string(graft::name_of(found.type)));
  std::vector<std::int32_t> values(graft::element_count(found));
  std::memcpy(values.data(), found.data, found.bytes);
  return values;
}

// Every tensor init.PATH of the plan becomes the trained parameter at PATH; other parameters keep
// the checkpoint's values.
template <class Model>
void set_initial_values(Model& model, const graft::safetensors_file& plan) {
  const std::string prefix = "init.";
  for (const graft::tensor_entry& e : plan.entries()) {
    if (!e.name.starts_with(prefix))
      continue;
    bool taken = false;
    for (const graft::segment& s : model.parameters.segments)
      if (s.path == e.name.substr(prefix.size()) &&
          static_cast<std::size_t>(s.size()) == graft::element_count(e)) {
        graft::convert_to(e.type, e.data, graft::element_count(e),
                          model.parameters.values.data + s.offset);
        taken = true;
      }
    if (!taken)
      throw graft::checkpoint_error("plan: expected a trained parameter of that size for " +
                                    e.name + ", found none");
  }
}

template <graft::tuning T>
nlohmann::json losses(const std::string& folder, const graft::safetensors_file& plan) {
  using model_type = graft::bert_classifier<graft::cpu<float>, T>;
  model_type model = model_type::load(folder, {.labels = 2});
  set_initial_values(model, plan);
  const std::int32_t first_position = model.config.first_position;
  training<model_type> run(std::move(model), {.rate = std::stod(plan.metadata().at("rate"))});

  const auto ids = integers(plan, "ids"), offsets = integers(plan, "offsets");
  const auto labels = integers(plan, "labels");
  const auto batch = static_cast<std::size_t>(std::stoi(plan.metadata().at("batch")));
  nlohmann::json list = nlohmann::json::array();
  graft::token_batch tokens;
  for (std::size_t from = 0; from + batch <= labels.size(); from += batch) {
    tokens.clear();
    for (std::size_t s = from; s < from + batch; ++s)
      tokens.append({ids.data() + offsets[s], ids.data() + offsets[s + 1]}, {},
                    static_cast<std::uint32_t>(s), first_position);
    list.push_back(run.step(tokens, {labels.data() + from, batch}, false));
  }
  return list;
}

nlohmann::json run(const std::string& folder, const std::string& file) {
  const auto plan = graft::safetensors_file::open(file);
  const std::string& method = plan.metadata().at("method");
  if (method == "full")
    return losses<graft::strategies::full>(folder, plan);
  if (method == "lora")
    return losses<graft::strategies::lora_query_value>(folder, plan);
  if (method == "houlsby")
    return losses<graft::strategies::houlsby>(folder, plan);
  throw graft::input_error("plan: expected full, lora or houlsby, found " + method);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: graft-bench-sst2-losses FOLDER PLAN\n";
    return 2;
  }
  try {
    std::cout << run(argv[1], argv[2]) << "\n";
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
