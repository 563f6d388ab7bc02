// SPDX-License-Identifier: MIT
// text/tsv.hpp, text/labelled_words.hpp, text/questions.hpp: files of examples. The first byte says
// which.
#include <graft/text/labelled_words.hpp>
#include <graft/text/questions.hpp>
#include <graft/text/tsv.hpp>

#include <cstdlib>
#include <string>

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const graft_fuzz::work_folder folder;
  if (size == 0)
    return 0;
  const std::string file = folder.write("file", graft_fuzz::text_of_input(data + 1, size - 1));
  graft_fuzz::read_or_refuse(file, [&] {
    if (data[0] == 'q') {
      for (const graft::question& q : graft::read_questions(file))
        if (q.answer_end > static_cast<graft::index_t>(q.context.size()))
          std::abort();
    } else if (data[0] == 'w') {
      for (const graft::labelled_words& w : graft::read_labelled_words(file))
        if (w.words.size() != w.tags.size())
          std::abort();
    } else {
      const auto examples = graft::read_labelled(file, data[0] == 'p');
      const graft::label_set labels(examples);
      for (const graft::labelled_text& e : examples) {
        labels.index_of(e, file);
        if (data[0] == 's')
          graft::score_of(e, file);
      }
    }
  });
  return 0;
}
