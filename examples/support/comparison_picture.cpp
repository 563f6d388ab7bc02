// SPDX-License-Identifier: MIT
#include "support/axes.hpp"
#include "support/comparison.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace programs {

namespace {

// A strategy's mark in a panel; the spreads are standard errors, 0 where there is none.
struct mark {
  std::string name;
  std::size_t who;
  spread x, y;
};

struct panel {
  const char* key;
  const char* below;
  double unit;
};

constexpr panel panels[] = {
    {"trained_parameters", "trained parameters", 1},
    {"seconds", "seconds of training", 1},
    {"training_bytes", "memory of the training beside the model, MiB", 1 << 20},
};

spread scaled(const spread& s, double unit) {
  return {s.mean / unit, std::isfinite(s.error) ? s.error / unit : 0};
}

std::vector<mark> marks_of(std::span<const summary> rows, const panel& p,
                           const std::string& score) {
  std::vector<mark> marks;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const spread *x = rows[i].find(p.key), *y = rows[i].find(score);
    if (x && y)
      marks.push_back({rows[i].strategy, i, scaled(*x, p.unit), scaled(*y, 1)});
  }
  return marks;
}

interval extent(const std::vector<mark>& marks, spread mark::*side) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  interval e{infinity, -infinity};
  for (const auto& m : marks) {
    e.low = std::min(e.low, (m.*side).mean - (m.*side).error);
    e.high = std::max(e.high, (m.*side).mean + (m.*side).error);
  }
  return e;
}

// Logarithmic where the greatest is more than eight times the least.
axis axis_below(const std::vector<mark>& marks, interval places) {
  interval values = extent(marks, &mark::x);
  double least = std::numeric_limits<double>::infinity();
  for (const auto& m : marks)
    least = std::min(least, m.x.mean);
  const bool wide = least > 0 && values.high > 8 * least;
  if (wide)
    values.low = std::max(values.low, least / 2);  // an error may reach below 0
  const scale kind = wide ? scale::logarithmic : scale::linear;
  values = padded(values, kind, 0.07);
  if (!wide)
    values.low = std::max(values.low, 0.0);
  return {values, places, kind};
}

void draw(svg& picture, const std::vector<mark>& marks, const panel& p, const std::string& title,
          const box& area) {
  const axis x = axis_below(marks, {area.x, area.x + area.width});
  interval values = padded(extent(marks, &mark::y), scale::linear, 0.08);
  values = {std::max(values.low, 0.0), std::min(values.high, 1.0)};
  const axis y{values, {area.y + area.height, area.y}, {}, unit::percent};
  draw_axes(picture, x, y, {title, "", p.below});

  std::vector<point> dots;
  std::vector<box> sizes, taken;
  for (const auto& m : marks) {
    const point at{x(m.x.mean), y(m.y.mean)};
    const pen bar{.colour = shade_of(m.who).line, .width = 1.2, .opacity = 0.6};
    const double left = x(std::max(m.x.mean - m.x.error, x.values.low)),
                 right = x(m.x.mean + m.x.error);
    const point upright[] = {{at.x, y(std::max(m.y.mean - m.y.error, values.low))},
                             {at.x, y(std::min(m.y.mean + m.y.error, values.high))}};
    const point level[] = {{left, at.y}, {right, at.y}};
    if (m.y.error > 0)
      picture.line(upright[0], upright[1], bar);
    if (right - left > 1)
      picture.line(level[0], level[1], bar);
    append_boxes_along(upright, taken);
    append_boxes_along(level, taken);
    dots.push_back(at);
    sizes.push_back({0, 0, text_width(m.name, 10) + 2, 11});
  }
  for (std::size_t i = 0; i < marks.size(); ++i)
    picture.circle(dots[i], 3.2, shade_of(marks[i].who).line, "#ffffff");
  const auto places =
      boxes_beside(dots, sizes, taken, {area.x + 2, area.y - 6, area.width - 2, area.height + 4});
  for (std::size_t i = 0; i < marks.size(); ++i) {
    const point near{std::clamp(dots[i].x, places[i].x, places[i].x + sizes[i].width),
                     std::clamp(dots[i].y, places[i].y, places[i].y + sizes[i].height)};
    if (std::hypot(near.x - dots[i].x, near.y - dots[i].y) > 9)
      picture.line(dots[i], near,
                   {.colour = shade_of(marks[i].who).line, .width = 0.6, .opacity = 0.7});
  }
  for (std::size_t i = 0; i < marks.size(); ++i)
    picture.text({places[i].x + 1, places[i].y + 9}, marks[i].name,
                 {.size = 10, .colour = shade_of(marks[i].who).text, .halo = true});
}

}  // namespace

std::string picture_of(std::span<const summary> rows, const std::string& score,
                       const std::string& title) {
  const bool tested = std::any_of(rows.begin(), rows.end(),
                                  [](const summary& s) { return s.find("test_score"); });
  const std::string part = tested ? "test" : "dev";
  const double left = 48, right = 14, head = title.empty() ? 0 : 26, above = 34, below = 44;
  const double width = 300, height = rows.size() > 12 ? 340 : 230;  // room for the names
  svg picture(3 * (left + width + right), head + above + height + below,
              title.empty() ? "Strategies compared" : title);
  if (!title.empty())
    picture.text({left, 22}, title, {.size = 14, .bold = true});
  const double y = head + above;
  for (std::size_t i = 0; i < std::size(panels); ++i) {
    const auto marks = marks_of(rows, panels[i], part + "_score");
    if (!marks.empty())
      draw(picture, marks, panels[i], part + " " + score,
           {static_cast<double>(i) * (left + width + right) + left, y, width, height});
  }
  return picture.finished();
}

}  // namespace programs
