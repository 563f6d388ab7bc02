// SPDX-License-Identifier: MIT
// What graft-serve answers, without its sockets: requests and answers as JSON, adapters by name,
// and the queue from which they are computed together.
#pragma once

#include "support/bank.hpp"
#include "support/batching.hpp"
#include "support/compute.hpp"
#include "support/refusal.hpp"
#include "support/texts.hpp"

#include <graft/model/task_kind.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace programs {

// A text, or a pair of them; of question answering question and context.
struct asked_text {
  std::string first;
  std::optional<std::string> second;
};

struct predict_request {
  std::optional<std::string> adapter;  // none: the base
  std::vector<asked_text> texts;
};

// {"adapter": "NAME", "texts": ["…", …]}; no adapter or null: the base; "pairs": [["…", "…"], …]
// instead of "texts". Throws refusal: 400 for anything else, 413 for more than `most` texts.
predict_request parse_request(std::string_view body, std::size_t most);

// The value of {"folder": "…"}. Throws refusal 400.
std::string parse_folder(std::string_view body);

// The folder below `root` that a relative path names. Throws refusal: 403 for one that leads out of
// it, by "..", as an absolute path or through a link, 404 where there is no such folder.
std::string folder_below(const std::string& root, const std::string& path);

// Throws refusal 400 unless a name is 1 to 100 letters, digits, '.', '_' and '-'.
void check_adapter_name(const std::string& name);

// | model      | folder of the base                                                          |
// | allowed    | folder below which put finds adapters; empty: put and remove are refused     |
// | adapters   | that may be held at once                                                     |
// | max_length | tokens that are read of a text; none: as in training                         |
struct serving_options {
  std::string model, allowed;
  std::size_t adapters = 1024;
  std::optional<int> max_length;
  batch_limits limits;
  compute with;
};

// Every member may be called by any thread at any time, `run` by one alone. They throw refusal for
// what they do not do.
class service {
 public:
  using json = nlohmann::ordered_json;

  explicit service(const serving_options& options);

  // Loads an adapter from any folder, in place of one of the same name. Is it a new one? Throws
  // graft::error too.
  bool load(const std::string& name, const std::string& folder);

  json predict(std::string_view body);
  // Like load, from {"folder": "…"} below `allowed`.
  std::pair<json, bool> put(const std::string& name, std::string_view body);
  json remove(const std::string& name);
  json adapters() const;
  json health() const;

  // Computes until close() was called and what is queued is answered.
  void run();
  void close() { queue_.close(); }

 private:
  // An adapter, or the base without any: what is asked of it, and how its texts are read.
  struct served {
    bank::handle under;
    graft::task_kind task = graft::task_kind::classification;
    std::vector<std::string> labels;
    graft::index_t longest = 0;
    bool unanswerable = false;
  };
  using served_handle = std::shared_ptr<const served>;
  struct encoded_request;

  served_handle served_from(const bank::handle& under, const std::string& folder) const;
  served_handle find(const std::optional<std::string>& name) const;
  encoded_request encode(const predict_request& request, const served& by) const;
  json results(const predict_request& request, const encoded_request& encoded,
               const batching_queue::outputs& outputs, const served& by) const;

  serving_options options_;
  std::unique_ptr<bank> bank_;
  text_encoder encoder_;
  served_handle base_;  // null: it has no head
  batching_queue queue_;
  std::mutex changes_;  // of one adapter after the other
  mutable std::mutex names_in_use_;
  std::map<std::string, served_handle, std::less<>> adapters_;
};

}  // namespace programs
