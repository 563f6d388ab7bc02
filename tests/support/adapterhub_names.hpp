// SPDX-License-Identifier: MIT
// What AdapterHub calls the parameters of bottlenecks, Compacters and compositions in a BERT.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace graft_test {

// The name of a path of ours, empty for what is no adapter. With a norm before the first matrix,
// that is the second module of its sequence. A lone adapter is called a, a fusion after its
// adapters.
inline std::string adapterhub_name(const std::string& path, bool ln_before = false,
                                   const std::string& fusion = "a,b,c") {
  using namespace std::literals;
  const auto starts = [](const std::string& s, std::string_view with) {
    return s.starts_with(with);
  };
  if (starts(path, "compacter.")) {
    const std::string what = path.substr("compacter."s.size());
    return "bert.shared_parameters.a." + (starts(what, "rule") ? "phm_" : "W_"s) + what;
  }
  const std::size_t at = path.find(".adapter.");
  if (at == std::string::npos)
    return {};
  const std::string site = path.substr(0, at);  // layer.N.attention, …feed_forward, …_join
  std::string part = path.substr(at + ".adapter."s.size());
  const std::string module = "bert.encoder." + site.substr(0, site.rfind('.')) +
                             (site.find("attention") != std::string::npos ? ".attention" : "") +
                             ".output.";
  if (starts(part, "fusion."))
    return module + "adapter_fusion_layer." + fusion + part.substr("fusion"s.size());
  std::string name = "a";
  if (part.size() > 1 && part[1] == '.') {
    name = part.substr(0, 1);
    part = part.substr(2);
  }
  const std::string adapter = module + "adapters." + name + ".";
  const auto renamed = [&](std::string_view ours, const std::string& theirs) {
    return adapter + theirs + part.substr(ours.size());
  };
  if (part == "scale")
    return renamed("scale", "scaling");
  for (const auto& [ours, theirs] :
       {std::pair{"ln_before"sv, "adapter_norm_before"s},
        std::pair{"ln_after"sv, "adapter_norm_after"s}, std::pair{"gate"sv, "gate"s},
        std::pair{"down"sv, "adapter_down."s + (ln_before ? "1" : "0")},
        std::pair{"up"sv, "adapter_up"s}})
    if (starts(part, ours))
      return renamed(ours, theirs);
  return {};
}

// … of the matrices of a Compacter.
inline std::string compacter_name(const std::string& path) {
  std::string name = adapterhub_name(path);
  if (name.empty() || path.starts_with("compacter."))
    return name;
  const std::size_t dot = name.rfind('.') + 1;
  const std::string part = name.substr(dot);
  if (part == "bias")
    return name.substr(0, dot) + "b";
  if (part.starts_with("weight"))
    return name.substr(0, dot) + "W" + part.substr(std::string_view("weight").size());
  return name.substr(0, dot) + "phm_" + part;
}

}  // namespace graft_test
