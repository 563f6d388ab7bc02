// SPDX-License-Identifier: MIT
#include "support/training_records.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>

#include <filesystem>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

namespace programs {

namespace {

using json = nlohmann::ordered_json;

// The lines of a log that tell of steps up to `step`.
std::string lines_until(const std::string& path, std::int64_t step, bool evaluated) {
  std::string kept;
  std::istringstream lines(graft::read_text(path));
  for (std::string line; std::getline(lines, line);) {
    const json entry = json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("step"))
      break;  // half a line, of a process that was killed
    const auto at = entry["step"].get<std::int64_t>();
    const bool evaluation = entry.contains("dev_loss");
    if (at > step || (at == step && evaluation && !evaluated))
      break;
    kept += line + "\n";
  }
  return kept;
}

}  // namespace

training_records::training_records(std::string log, const std::string& tensorboard)
    : path_(std::move(log)) {
  if (!path_.empty()) {
    log_.open(path_, std::ios::app);
    if (!log_)
      throw graft::error(path_ + ": expected to write a log there, found it not writable");
  }
  if (!tensorboard.empty())
    events_.emplace(tensorboard);
}

void training_records::go_on_after(std::int64_t step, bool evaluated) {
  if (path_.empty())
    return;
  log_.close();
  const std::string kept = step > 0 ? lines_until(path_, step, evaluated) : "";
  graft::write_atomically(path_, [&](graft::output_file& out) { out.write(kept); });
  log_.open(path_, std::ios::app);
}

void training_records::add(const graft::fit_progress& p, double rate, std::int64_t before) {
  const std::int64_t step = before + p.step;
  if (!p.dev) {
    steps_.push_back({step, p.tokens, p.epoch, p.loss, p.gradient_norm, rate});
    write_steps(false);
    return;
  }
  write_steps(true);
  json line{{"step", step}, {"epoch", p.epoch}};
  const auto tell = [&](const std::string& name, const std::string& tag, double value) {
    line[name] = value;
    if (events_)
      events_->scalar(tag, step, value);
  };
  tell("dev_loss", "dev/loss", p.dev->loss);
  for (const auto& [score, value] : p.dev->scores)
    tell("dev_" + score, "dev/" + score, value);
  if (log_.is_open())
    log_ << line.dump() + "\n" << std::flush;
}

void training_records::write(const step_line& s) {
  json line{{"step", s.step}, {"epoch", s.epoch}};
  const auto tell = [&](const char* name, const char* tag, double value) {
    line[name] = value;
    if (events_)
      events_->scalar(tag, s.step, value);
  };
  tell("loss", "train/loss", s.loss);
  tell("gradient_norm", "train/gradient_norm", s.gradient_norm);
  tell("rate", "train/rate", s.rate);
  line["tokens"] = s.tokens;
  if (log_.is_open())
    log_ << line.dump() + "\n" << std::flush;
}

void training_records::write_steps(bool all) {
  for (; !steps_.empty(); steps_.pop_front()) {
    if (!all && !(steps_.front().loss.arrived() && steps_.front().gradient_norm.arrived()))
      return;
    write(steps_.front());
  }
}

void training_records::finish() {
  write_steps(true);
  if (log_.is_open() && !log_.good())
    throw graft::error(path_ + ": expected to write the log, found the disk full");
}

}  // namespace programs
