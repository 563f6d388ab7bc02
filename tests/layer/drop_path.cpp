// SPDX-License-Identifier: MIT
// layer/drop_path.hpp; what an adapter makes of it is in tuning/adapter_branch.cpp.
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/drop_path.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("drop_path keeps or drops all rows of a sequence", "", cpu<double>,
                   reference<double>) {
  using B = TestType;
  host_workspace memory;
  layout rows = sequences({2, 1, 0, 3});
  for (std::uint32_t example = 20; example < 40; ++example)
    rows.append(2, example);
  const context<B> k{memory, rows, true, 4, 2};
  const drop_path<B> path{0.5, 7};
  const auto x = random_tensor<B>(memory, rows.rows(), 3, 1);
  const auto y = path.apply(x, k);
  int kept = 0;
  for (index_t s = 0; s < rows.sequences(); ++s) {
    if (rows.length(s) == 0)
      continue;
    const bool here = y(rows.first(s), 0) != 0;
    kept += here;
    for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
      for (index_t j = 0; j < 3; ++j)
        CHECK(y(i, j) == (here ? x(i, j) * 2 : 0));
  }
  CHECK(kept > 5);
  CHECK(kept < 18);

  CHECK(values_of(path.apply(x, context<B>{memory, rows})) == values_of(x));
  CHECK(values_of(drop_path<B>{0, 7}.apply(x, k)) == values_of(x));
  CHECK_THROWS_AS(path.apply(random_tensor<B>(memory, 3, 3, 1), k), shape_error);
}

TEST_CASE("the backends drop the same sequences") {
  layout rows = separate_rows(50);
  const auto values = [&]<class B>() {
    host_workspace memory;
    return values_of(drop_path<B>{0.3, 7}.apply(random_tensor<B>(memory, 50, 2, 1),
                                                context<B>{memory, rows, true, 4, 2}));
  };
  CHECK(values.operator()<cpu<double>>() == values.operator()<reference<double>>());
}

}  // namespace graft_test
