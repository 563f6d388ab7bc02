// SPDX-License-Identifier: MIT
// What a tuned network consists of, in numbers.
#pragma once

#include <graft/core/demand.hpp>
#include <graft/core/part_list.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

// The parameters at one site, those of all layers of a stack together.
struct site_count {
  std::string site;
  std::int64_t total = 0;
  std::int64_t trained = 0;
};

struct parameter_count {
  std::int64_t total = 0;
  std::int64_t trained = 0;
  std::vector<site_count> sites;  // in the order of the network

  double share() const {
    return total > 0 ? static_cast<double>(trained) / static_cast<double>(total) : 0;
  }
};

namespace detail {

// "layer.3.attention.query.lora.a" -> "layer.*.attention.query.lora": numbers go, and the last
// step.
inline std::string site_of(const std::string& path) {
  std::string site;
  std::size_t from = 0;
  const std::size_t last = path.rfind('.');
  while (last != std::string::npos && from < last) {
    const std::size_t dot = path.find('.', from);
    const std::string step = path.substr(from, dot - from);
    const bool number = step.find_first_not_of("0123456789") == std::string::npos;
    site += (site.empty() ? "" : ".") + (number ? std::string("*") : step);
    from = dot + 1;
  }
  return site.empty() ? path : site;
}

template <class B>
parameter_count count_parameters(const part_list<B>& parts) {
  parameter_count count;
  const auto at = [&](const std::string& path) -> site_count& {
    const std::string site = detail::site_of(path);
    const auto found = std::find_if(count.sites.begin(), count.sites.end(),
                                    [&](const site_count& s) { return s.site == site; });
    if (found != count.sites.end())
      return *found;
    count.sites.push_back({site});
    return count.sites.back();
  };
  std::set<std::string_view> known;  // what layers share is listed by each of them
  for (const auto& p : parts.parameters) {
    if (!known.insert(p.path).second)
      continue;
    const auto n = static_cast<std::int64_t>(p.size());
    site_count& site = at(p.path);
    site.total += n;
    count.total += n;
    if (p.trained) {
      site.trained += n;
      count.trained += n;
    }
  }
  return count;
}

}  // namespace detail

// Counts a network's parameters: all, trained, and by site.
template <lists_parts L>
parameter_count count_parameters(L& network) {
  return detail::count_parameters(list_parts(network));
}

// The counts as a table, a line per site.
template <class Model>
std::string describe(const Model& model) {
  const parameter_count count = count_parameters(model.network);
  std::size_t widest = 5;
  for (const site_count& s : count.sites)
    widest = std::max(widest, s.site.size());
  std::string table;
  const auto line = [&](std::string_view name, const std::string& total,
                        const std::string& trained) {
    table.append(name).append(widest - name.size() + 2, ' ');
    table.append(12 - std::min<std::size_t>(12, total.size()), ' ').append(total);
    table.append(12 - std::min<std::size_t>(12, trained.size()), ' ').append(trained);
    table.append(1, '\n');
  };
  line("site", "parameters", "trained");
  for (const site_count& s : count.sites)
    line(s.site, std::to_string(s.total), s.trained > 0 ? std::to_string(s.trained) : "-");
  line("total", std::to_string(count.total), std::to_string(count.trained));
  char share[64];
  std::snprintf(share, sizeof share, "trained: %.3f %%\n", 100 * count.share());
  return table + share;
}

}  // namespace graft
