// SPDX-License-Identifier: MIT
// text/tokenizer_files.hpp, text/tokenizer_json.hpp: the files of a tokenizer, then texts through
// it. The first byte says which files they are, zero bytes separate them, and the first part is the
// text.
#include <graft/text/tokenizer.hpp>

#include <cstdlib>
#include <string>

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const graft_fuzz::work_folder folder;
  if (size == 0)
    return 0;
  const auto parts = graft_fuzz::split(graft_fuzz::text_of_input(data + 1, size - 1), 4);
  folder.clear();
  switch (data[0]) {
    case 'j':
      folder.write("tokenizer.json", parts[1]);
      break;
    case 'v':
      folder.write("vocab.txt", parts[1]);
      break;
    default:
      folder.write("vocab.json", parts[1]);
      folder.write("merges.txt", parts[3]);
  }
  if (!parts[2].empty())
    folder.write("tokenizer_config.json", parts[2]);
  if (data[0] == 'v' && !parts[3].empty())
    folder.write("added_tokens.json", parts[3]);
  graft_fuzz::read_or_refuse(folder.path(), [&] {
    const graft::tokenizer t = graft::tokenizer::load(folder.path());
    for (const std::string_view text :
         {parts[0], std::string_view("a [MASK] Ünder ein\u0301 <mask>")})
      try {
        for (const graft::placed_token& p : graft::placed_tokens(t, text)) {
          if (p.first > p.end || p.end > static_cast<graft::index_t>(text.size()))
            std::abort();
          t.token(p.id);
        }
        t.encode(text, 16);
        t.encode(text, text, 16);
      } catch (const graft::input_error&) {  // no UTF-8, or more special tokens than 16
      }
  });
  return 0;
}
