// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

#include <graft/io/merge_adapter.hpp>
#include <graft/io/recipe_text.hpp>

namespace programs {

namespace {

// The model with an adapter's low-rank updates in its weights.
template <class B>
std::unique_ptr<session> open_merged(const std::string& base, const graft::adapter_data& data) {
  auto s = std::make_unique<session_of<B, graft::strategies::head>>();
  s->model = graft::load_base_for<B, graft::strategies::head>(base, data);
  graft::merge_adapter(s->model, data);
  s->objective = graft::default_objective(s->model);
  return s;
}

}  // namespace

std::unique_ptr<session> open_with_adapter(const compute& c, const std::string& base,
                                           const std::string& adapter) {
  if (graft::is_graft_adapter(adapter)) {
    const auto description = graft::read_adapter(adapter);
    const auto* known = find_strategy(description.strategy);
    if (known == nullptr)
      throw graft::checkpoint_error(description.source +
                                    ": \"strategy\": expected one of graft-finetune's, found \"" +
                                    description.strategy + "\"");
    return known->resume(c, base, adapter);
  }
  const auto config = graft::read_bert_config_of(base);
  const auto data = graft::read_any_adapter(adapter, config);
  if (graft::can_merge(data))
    return on_backend(c, [&]<class B>() { return open_merged<B>(base, data); });
  for (const strategy* s : strategies())
    if (s->has_places(data, config.layers)) {
      try {
        return s->hold(c, base, data);
      } catch (const graft::checkpoint_error&) {
        // it has more places than these: another may have just these
      }
    }
  throw graft::checkpoint_error(data.source +
                                ": expected an adapter that one of graft-finetune's strategies holds, "
                                "found none for it; a program with this tuning holds it:\n" +
                                graft::recipe_text(data, config.layers));
}

std::unique_ptr<session> open_model(const compute& c, const std::string& folder) {
  const auto refuse = [&](const std::string& lacks) {
    throw graft::checkpoint_error(folder + ": expected a model with a head, or an adapter that has one, "
                                           "found no " + lacks);
  };
  const std::string file = graft::detail::config_name(folder);
  if (const auto json = graft::read_json(file);
      !graft::read_task(json, file) && graft::read_labels(json, file).empty())
    refuse("labels in config.json");
  auto s = menu::head.start(c, folder, {});
  if (!s->loaded.fresh.empty())
    refuse(s->loaded.fresh.front());
  return s;
}

}  // namespace programs
