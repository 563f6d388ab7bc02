// SPDX-License-Identifier: MIT
// Trains a classifier of two classes through the steps of a plan, which has batches, labels and the initial
// values of what the checkpoint lacks; prints the losses, the seconds and the tokens of each step, and memory,
// as JSON. Plans are written by common.write_plan; peft_cpu.py is the counterpart.
//   graft-bench-step FOLDER PLAN [bf16 | int8 | base]     frozen weights as in the checkpoint, in 16 bits, or
//                                             in 8 with their inputs too; base: what LoRA needs of the frozen
//                                             base alone
#include "support/measure.hpp"
#include "support/training.hpp"
#include "support/tunings.hpp"

#include <graft/cpu.hpp>

#include <cstdint>
#include <cstring>
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
nlohmann::json trained(const std::string& folder, const graft::safetensors_file& plan) {
  using model_type = graft::bert_classifier<graft::cpu<float>, T>;
  model_type model = model_type::load(folder, {.labels = 2});
  set_initial_values(model, plan);
  const std::int32_t first_position = model.config.first_position;
  training<model_type> run(std::move(model), {.rate = std::stod(plan.metadata().at("rate"))});

  const auto ids = integers(plan, "ids"), offsets = integers(plan, "offsets");
  const auto labels = integers(plan, "labels");
  const auto batch = static_cast<std::size_t>(std::stoi(plan.metadata().at("batch")));
  std::vector<double> losses, seconds;
  std::vector<graft::index_t> tokens;
  double first_step = 0;
  graft::token_batch packed;
  for (std::size_t from = 0; from + batch <= labels.size(); from += batch) {
    const double start = seconds_now();
    packed.clear();
    for (std::size_t s = from; s < from + batch; ++s)
      packed.append({ids.data() + offsets[s], ids.data() + offsets[s + 1]}, {},
                    static_cast<std::uint32_t>(s), first_position);
    losses.push_back(run.step(packed, {labels.data() + from, batch}, false));
    seconds.push_back(seconds_now() - start);
    tokens.push_back(packed.rows.rows());
    if (from == 0)
      first_step = seconds_since_start();
  }
  const step_bytes bytes = run.bytes();
  return {{"engine", graft::cpu<float>::engine_name()},
          {"losses", losses},
          {"seconds", seconds},
          {"tokens", tokens},
          {"first_step_seconds", first_step},
          {"peak_bytes", peak_bytes()},
          {"trained_parameters", run.model().parameters.count()},
          {"cache_bytes", bytes.cache},
          {"gradient_bytes", bytes.gradient},
          {"optimizer_bytes", bytes.optimizer}};
}

nlohmann::json run(const std::string& folder, const std::string& file, const std::string& stored) {
  const auto plan = graft::safetensors_file::open(file);
  const std::string& method = plan.metadata().at("method");
  if (stored == "bf16") {
    if (method == "head")
      return trained<tunings::head_bf16>(folder, plan);
    if (method == "lora")
      return trained<tunings::lora8_bf16>(folder, plan);
    if (method == "lora16_all")
      return trained<tunings::lora16_all_bf16>(folder, plan);
    if (method == "houlsby")
      return trained<tunings::houlsby_bf16>(folder, plan);
    if (method == "top2")
      return trained<tunings::top2_bf16>(folder, plan);
  }  // and full, where nothing is frozen
  if (stored == "int8") {
    if (method == "lora")
      return trained<tunings::lora8_int8>(folder, plan);
    if (method == "lora16_all")
      return trained<tunings::lora16_all_int8>(folder, plan);
    throw graft::input_error("plan: expected lora or lora16_all with int8, found " + method);
  }
  if (stored == "base")
    return trained<tunings::base_only>(folder, plan);
  if (method == "full")
    return trained<tunings::full>(folder, plan);
  if (method == "head")
    return trained<tunings::head>(folder, plan);
  if (method == "top2")
    return trained<tunings::top2>(folder, plan);
  if (method == "lora")
    return trained<tunings::lora8>(folder, plan);
  if (method == "lora16_all")
    return trained<tunings::lora16_all>(folder, plan);
  if (method == "houlsby")
    return trained<tunings::houlsby>(folder, plan);
  throw graft::input_error("plan: expected full, head, top2, lora, lora16_all or houlsby, found " +
                           method);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string stored = argc > 3 ? argv[3] : "f32";
  if (argc < 3 || argc > 4 || (stored != "f32" && stored != "bf16" && stored != "int8" && stored != "base")) {
    std::cerr << "usage: graft-bench-step FOLDER PLAN [bf16 | int8 | base]\n";
    return 2;
  }
  try {
    std::cout << run(argv[1], argv[2], stored) << "\n";
  } catch (const std::exception& e) {
    std::cerr << "graft-bench-step: " << e.what() << "\n";
    return 1;
  }
}
