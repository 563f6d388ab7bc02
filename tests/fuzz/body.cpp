// SPDX-License-Identifier: MIT
// What graft-serve is asked by: the body of a request.
#include "support/refusal.hpp"
#include "support/serving.hpp"

#include <cstdlib>

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body = graft_fuzz::text_of_input(data, size);
  constexpr std::size_t most = 100;
  try {
    if (programs::parse_request(body, most).texts.size() > most)
      std::abort();
  } catch (const programs::refusal& e) {
    if (e.status != 400 && e.status != 413)
      std::abort();
  }
  try {
    programs::parse_folder(body);
  } catch (const programs::refusal& e) {
    if (e.status != 400)
      std::abort();
  }
  return 0;
}
