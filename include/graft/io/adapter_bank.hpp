// SPDX-License-Identifier: MIT
// Many adapters over one base: they come, go and are replaced while other threads predict, and the
// sequences of one batch may each have another.
#pragma once

#include <graft/core/context.hpp>
#include <graft/core/error.hpp>
#include <graft/core/host_matrix.hpp>
#include <graft/core/row_updates.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/bank_adapter.hpp>
#include <graft/io/fingerprint.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/model/tokens.hpp>
#include <graft/train/examples.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace graft {

// Holds the base once, mapped where its file allows it, and of each adapter its low-rank updates
// and its head (PEFT's and graft's LoRA on dense maps and BERT's pooler, of any rank, with any head
// that bert_classifier has). Every member may be called by any thread at any time. An adapter lives
// as long as somebody has a handle to it, in the bank or not.
template <backend B, norm_order Order = norm_order::after>
class adapter_bank {
 public:
  using scalar = typename B::scalar;
  using model_type = bert_classifier<B, bank_tuning, Order>;
  using adapter = bank_adapter<B, Order>;
  using handle = std::shared_ptr<const adapter>;

  // Over a model that has a head of its own.
  explicit adapter_bank(model_type base) : base_{std::move(base), {}, true, {}} {
    base_.places = number_places(base_.model.network);
    while (pooler_ < base_.places.size() && base_.places[pooler_].path != at::pooler.name)
      ++pooler_;
  }
  // Over the base in a Hugging Face folder, with its head where it has one.
  explicit adapter_bank(const std::string& folder, const load_options& options = {})
      : adapter_bank(load_base(folder, options)) {}

  const model_type& base() const { return base_.model; }

  // Puts an adapter in the bank, in place of one of the same name. Predictions that are under way
  // keep theirs. Throws checkpoint_error, and changes nothing, for one of another base and for what
  // a bank cannot hold, which it lists.
  handle load(const std::string& name, const adapter_data& data) {
    auto made = detail::bank_reader<B, Order>(base_, data).read(name);
    made.bank = this;
    const handle added = std::make_shared<const adapter>(std::move(made));
    handle out = added;  // the old one, let go of outside the lock
    const std::lock_guard lock(names_in_use_);
    std::swap(adapters_[name], out);
    return added;
  }
  // Throws input_error for a name that the bank does not have.
  void unload(std::string_view name) {
    handle out;
    const std::lock_guard lock(names_in_use_);
    const auto found = place_of(name);
    out = std::move(found->second);
    adapters_.erase(found);
  }
  // The adapter that has this name now. Throws input_error where there is none.
  handle find(std::string_view name) const {
    const std::lock_guard lock(names_in_use_);
    return place_of(name)->second;
  }
  // Sorted.
  std::vector<std::string> names() const {
    const std::lock_guard lock(names_in_use_);
    std::vector<std::string> all;
    for (const auto& entry : adapters_)
      all.push_back(entry.first);
    return all;
  }

  // The outputs of every example under its adapter, null for the base alone: one row of the head's
  // outputs or, for tasks that are asked of every token, one after another those of all tokens.
  //
  // The encoder runs once for all examples, then each adapter's head on its own. Throws input_error
  // for another number of adapters than of examples, examples without tokens or with too many, an
  // adapter of another bank, and none where the base has no head.
  std::vector<std::vector<scalar>> predict(std::span<const example> examples,
                                           std::span<const handle> adapters) const;

 private:
  using tensor = typename B::tensor;
  using network_type = typename model_type::network_type;

  // The memory of one prediction.
  struct room {
    typename B::workspace memory;
    token_batch batch;
    row_updates<B> updates, of_pooler;
  };
  // Gives a room back when a prediction ends.
  struct give_back {
    const adapter_bank* bank;
    void operator()(room* r) const {
      const std::lock_guard lock(bank->rooms_in_use_);
      bank->free_rooms_.emplace_back(r);
    }
  };
  // Examples of one adapter: a stretch of the batch.
  struct group {
    const adapter* under;
    std::vector<std::size_t> examples;
    index_t first_row = 0, rows = 0;
  };

  explicit adapter_bank(bank_base<B, Order> base) : adapter_bank(std::move(base.model)) {
    base_.has_head = base.has_head;
    base_.fingerprint = std::move(base.fingerprint);
  }
  static bank_base<B, Order> load_base(const std::string& folder, load_options options) {
    const std::string file = detail::config_name(folder);
    const checkpoint from = checkpoint::open(folder);
    if (!options.task && options.labels == 0 && options.label_names.empty() &&
        !read_task(from.config(), file) && read_labels(from.config(), file).empty())
      options.label_names = {"none"};  // of a head that nobody has
    load_report report;
    bank_base<B, Order> base{
        load_classifier<B, bank_tuning, Order>(folder, options, &report), {}, true, {}};
    base.has_head = std::none_of(report.fresh.begin(), report.fresh.end(),
                                 [](const std::string& path) { return path.starts_with("head."); });
    base.fingerprint = fingerprint(from);
    return base;
  }

  template <class Self>
  static auto place_in(Self& adapters, std::string_view name) {
    const auto found = adapters.find(name);
    if (found == adapters.end())
      throw input_error("adapter_bank: expected the name of an adapter, found \"" +
                        std::string(name) + "\"");
    return found;
  }
  auto place_of(std::string_view name) { return place_in(adapters_, name); }
  auto place_of(std::string_view name) const { return place_in(adapters_, name); }

  std::unique_ptr<room, give_back> take_room() const {
    const std::lock_guard lock(rooms_in_use_);
    std::unique_ptr<room> taken;
    if (free_rooms_.empty()) {
      taken = std::make_unique<room>();
      free_rooms_.reserve(++rooms_);  // giving back never allocates
    } else {
      taken = std::move(free_rooms_.back());
      free_rooms_.pop_back();
    }
    return {taken.release(), give_back{this}};
  }

  void check(std::span<const example> examples, std::span<const handle> adapters) const;
  std::vector<group> pack(std::span<const example> examples, std::span<const handle> adapters,
                          room& r) const;
  tensor outputs_of(const group& g, const tensor& h, room& r) const;

  bank_base<B, Order> base_;
  std::uint32_t pooler_ = 0;  // its place
  mutable std::mutex names_in_use_, rooms_in_use_;
  std::map<std::string, handle, std::less<>> adapters_;
  mutable std::vector<std::unique_ptr<room>> free_rooms_;
  mutable std::size_t rooms_ = 0;
};

template <backend B, norm_order Order>
void adapter_bank<B, Order>::check(std::span<const example> examples,
                                   std::span<const handle> adapters) const {
  if (examples.size() != adapters.size())
    throw input_error("adapter_bank: expected an adapter (or null) for each of " +
                      std::to_string(examples.size()) + " examples, found " +
                      std::to_string(adapters.size()));
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const auto expect = [i](bool holds, auto&& message) {
      if (!holds)
        throw input_error("adapter_bank: example " + std::to_string(i) + ": expected " + message());
    };
    expect(!examples[i].ids.empty(), [] { return "tokens, found none"; });
    expect(!adapters[i] || adapters[i]->bank == this, [&] {
      return "an adapter of this bank, found \"" + adapters[i]->name + "\" of another";
    });
    expect(adapters[i] || base_.has_head, [] { return "an adapter, since the base has no head"; });
  }
}

// Groups examples by adapter, in the order in which the adapters appear.
template <backend B, norm_order Order>
auto adapter_bank<B, Order>::pack(std::span<const example> examples,
                                  std::span<const handle> adapters, room& r) const
    -> std::vector<group> {
  std::vector<group> groups;
  std::unordered_map<const adapter*, std::size_t> known;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const auto [found, is_new] = known.try_emplace(adapters[i].get(), groups.size());
    if (is_new)
      groups.push_back({adapters[i].get(), {}});
    groups[found->second].examples.push_back(i);
  }
  r.batch.clear();
  r.updates.of_place.resize(base_.places.size());
  r.updates.clear();
  for (group& g : groups) {
    g.first_row = r.batch.rows.rows();
    for (const std::size_t i : g.examples)
      r.batch.append(examples[i].ids, examples[i].types, static_cast<std::uint32_t>(i),
                     base_.model.config.first_position);
    g.rows = r.batch.rows.rows() - g.first_row;
    if (g.under)
      for (const bank_update<B>& u : g.under->updates)
        r.updates.of_place[u.place].push_back(u.of_rows(g.first_row, g.rows));
  }
  return groups;
}

// What a head makes of its group's rows of h: those of the encoder, or its first row of each
// sequence.
template <backend B, norm_order Order>
auto adapter_bank<B, Order>::outputs_of(const group& g, const tensor& h, room& r) const -> tensor {
  const network_type& network = base_.model.network;
  const auto& head = g.under ? g.under->head : network.head;
  const auto& pooler = g.under ? g.under->pooler : network.pooler;
  r.of_pooler.of_place.resize(base_.places.size());
  r.of_pooler.clear();
  if (g.under)
    for (const bank_update<B>& u : g.under->updates)
      if (u.place == pooler_)
        r.of_pooler.of_place[pooler_].push_back(u.of_rows(0, h.rows));
  const context<B> k{r.memory, r.batch.rows, false, 0, 0, &r.of_pooler};
  cache_t<typename network_type::pooler_type, inference_demand> of_pooler;
  cache_t<typename network_type::head_type, inference_demand> of_head;
  return head.template forward<inference_demand>(
      pooler.template forward<inference_demand>(h, of_pooler, k), of_head, k);
}

template <backend B, norm_order Order>
auto adapter_bank<B, Order>::predict(std::span<const example> examples,
                                     std::span<const handle> adapters) const
    -> std::vector<std::vector<scalar>> {
  check(examples, adapters);
  std::vector<std::vector<scalar>> outputs(examples.size());
  if (examples.empty())
    return outputs;
  const auto r = take_room();
  const std::vector<group> groups = pack(examples, adapters, *r);
  const layout& rows = r->batch.rows;
  const auto& bert = base_.model.network.bert;
  cache_t<typename network_type::bert_type, inference_demand> none;
  const tensor h = bert.template forward<inference_demand>(
      r->batch, none, context<B>{r->memory, rows, false, 0, 0, &r->updates});
  const context<B> k{r->memory, rows};
  tensor first = k.make(rows.sequences(), h.cols);
  B::pool_first(first, h, rows);
  index_t s = 0;
  for (const group& g : groups) {
    const auto count = static_cast<index_t>(g.examples.size());
    const bool by_token = per_token(g.under ? g.under->task : base_.model.config.task);
    const auto y = read_matrix<B>(
        outputs_of(g, by_token ? h.rows_of(g.first_row, g.rows) : first.rows_of(s, count), *r));
    for (index_t i = 0; i < count; ++i, ++s) {
      const index_t from = by_token ? rows.first(s) - g.first_row : i;
      auto& mine = outputs[g.examples[static_cast<std::size_t>(i)]];
      for (index_t row = from; row < from + (by_token ? rows.length(s) : 1); ++row)
        mine.insert(mine.end(), &y(row, 0), &y(row, 0) + y.cols);
    }
  }
  return outputs;
}

}  // namespace graft
