// SPDX-License-Identifier: MIT
#include "support/bank.hpp"

#include <graft/cpu.hpp>
#include <graft/io/adapter_bank.hpp>

#include <utility>

namespace programs {

namespace {

template <class B>
struct bank_of final : bank {
  using library_bank = graft::adapter_bank<B>;
  struct held final : held_adapter {
    typename library_bank::handle in_bank;
  };

  library_bank all;

  explicit bank_of(const std::string& folder) : all(folder) {}

  const graft::bert_config& config() const override { return all.base().config; }
  graft::index_t longest() const override {
    return all.base().network.bert.longest(all.base().config);
  }
  held_adapter base() const override {
    held_adapter b;
    b.task = config().task;
    b.labels = all.base().labels;
    b.outputs = all.base().network.head.out();
    return b;
  }
  handle load(const std::string& name, const graft::adapter_data& data) override {
    auto h = std::make_shared<held>();
    h->in_bank = all.load(name, data);
    h->task = h->in_bank->task;
    h->labels = h->in_bank->labels;
    h->outputs = h->in_bank->head.out();
    return h;
  }
  void unload(std::string_view name) override { all.unload(name); }
  std::vector<std::vector<float>> predict(std::span<const graft::example> examples,
                                          std::span<const handle> adapters) const override {
    std::vector<typename library_bank::handle> in_bank;
    for (const handle& h : adapters)
      in_bank.push_back(h ? static_cast<const held&>(*h).in_bank : nullptr);
    return all.predict(examples, in_bank);
  }
};

}  // namespace

std::unique_ptr<bank> open_bank(const compute& c, const std::string& folder) {
  return on_backend(c, [&]<class B>() -> std::unique_ptr<bank> {
    return std::make_unique<bank_of<B>>(folder);
  });
}

}  // namespace programs
