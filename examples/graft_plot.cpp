// SPDX-License-Identifier: MIT
// Curves of one or several trainings, from the logs of graft-finetune. Each run's name stands at
// the end of its line.
#include "support/axes.hpp"
#include "support/program.hpp"
#include "support/svg.hpp"
#include "support/training_log.hpp"

#include <graft/io/file.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

using programs::curve;
using programs::interval;
using programs::point;

constexpr double line_height = 12.5;  // of names above each other

// The best values stand at their dots, or, where these become too many, behind the names.
bool numbers_at_dots(std::size_t count) { return count <= 6; }

struct run {
  std::string name;
  std::map<std::string, curve> lines;  // by key: "loss", smoothed; "dev_loss"; "dev_accuracy"; ...
  curve loss;                          // of each step

  const curve* line(const std::string& key) const {
    const auto found = lines.find(key);
    return found == lines.end() ? nullptr : &found->second;
  }
};

// A curve's points in the picture. Of the points within half a pixel only the first, the lowest,
// the highest and the last are kept: the same picture in a file of bounded size.
std::vector<point> points_of(const curve& c, const programs::axis& x, const programs::axis& y) {
  std::vector<point> points;
  const auto column = [&](std::size_t i) { return std::floor(2 * x(c.steps[i])); };
  for (std::size_t i = 0; i < c.steps.size();) {
    std::size_t end = i + 1, low = i, high = i;
    const bool finite = std::isfinite(c.values[i]);
    for (;
         end < c.steps.size() && column(end) == column(i) && std::isfinite(c.values[end]) == finite;
         ++end) {
      low = c.values[end] < c.values[low] ? end : low;
      high = c.values[end] > c.values[high] ? end : high;
    }
    std::array<std::size_t, 4> kept{i, std::min(low, high), std::max(low, high), end - 1};
    const auto different = std::unique(kept.begin(), kept.end());
    for (auto k = kept.begin(); k != different; ++k)
      points.push_back({x(c.steps[*k]), finite ? y(c.values[*k]) : c.values[*k]});
    i = end;
  }
  return points;
}

// ---- panels -------------------------------------------------------------------------------------

bool is_loss(std::string_view key) { return key.ends_with("loss"); }

bool less_is_better(std::string_view key) {
  return is_loss(key) || key.ends_with("error") || key.ends_with("perplexity");
}

std::string title_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  return key == "loss" ? "training loss" : key;
}

// What the y axis of a curve shows.
struct value_axis {
  interval values;
  programs::unit shown = programs::unit::number;
};

// The highest loss that a run began with.
double first_loss(const std::vector<run>& runs) {
  double highest = 0;
  for (const auto& r : runs)
    for (const char* key : {"loss", "dev_loss"})
      if (const curve* line = r.line(key))
        highest = std::max(highest, *std::find_if(line->values.begin(), line->values.end(),
                                                  [](double v) { return std::isfinite(v); }));
  return highest;
}

// All values fit in, but one: a run whose loss exceeds twice the highest first one has diverged,
// and what of it is above that first one does not stretch the axis.
value_axis value_axis_of(const std::string& key, const std::vector<run>& runs) {
  const double first = is_loss(key) ? first_loss(runs) : 0;
  std::vector<double> seen;
  for (const auto& r : runs) {
    const curve* line = r.line(key);
    if (!line)
      continue;
    const bool diverged = is_loss(key) && std::any_of(line->values.begin(), line->values.end(),
                                                      [&](double v) { return v > 2 * first; });
    for (const double v : line->values)
      if (std::isfinite(v) && !(diverged && v > first))
        seen.push_back(v);
  }
  const auto [low, high] = std::minmax_element(seen.begin(), seen.end());
  const bool share = !is_loss(key) && *low >= 0 && *high <= 1;
  value_axis result{programs::padded({*low, *high}, programs::scale::linear, 0.08),
                    share ? programs::unit::percent : programs::unit::number};
  if (*low >= 0)
    result.values.low = std::max(result.values.low, 0.0);
  if (share)
    result.values.high = std::min(result.values.high, 1.0);
  return result;
}

// The losses first.
std::vector<std::string> keys_of(const std::vector<run>& runs) {
  std::set<std::string> all;
  for (const auto& r : runs)
    for (const auto& [key, line] : r.lines)
      all.insert(key);
  std::vector<std::string> keys;
  for (const char* first : {"loss", "dev_loss"})
    if (all.erase(first) > 0)
      keys.emplace_back(first);
  keys.insert(keys.end(), all.begin(), all.end());
  return keys;
}

// Where a run's line is last seen, and what becomes of it there.
struct line_end {
  point at;
  enum { stays, leaves, breaks } how = stays;  // leaves the axis upward; goes on as no number
};

line_end end_of(const curve& c, const programs::axis& x, const programs::axis& y) {
  std::size_t last = c.values.size() - 1;
  while (!std::isfinite(c.values[last]))
    --last;
  const bool breaks = last + 1 < c.values.size();
  const double top = y.values.high;
  if (c.values[last] <= top)
    return {{x(c.steps[last]), y(c.values[last])}, breaks ? line_end::breaks : line_end::stays};
  std::size_t before = last;  // the last point below the top
  while (before > 0 && !(c.values[before] <= top))
    --before;
  double step = c.steps[before];
  if (c.values[before] <= top && std::isfinite(c.values[before + 1]))
    step += (top - c.values[before]) / (c.values[before + 1] - c.values[before]) *
            (c.steps[before + 1] - step);
  return {{x(step), y(top)}, line_end::leaves};
}

void draw_end(programs::svg& picture, const line_end& end, std::string_view colour) {
  const auto [x, y] = end.at;
  if (end.how == line_end::leaves)
    picture.polygon(std::array{point{x - 4.5, y + 1}, point{x + 4.5, y + 1}, point{x, y - 7}},
                    colour);
  if (end.how == line_end::breaks)
    for (const double side : {-3.5, 3.5})
      picture.line({x - 3.5, y - side}, {x + 3.5, y + side}, {.colour = colour, .width = 1.75});
}

// The names in the margin, each led to from the end of its line.
struct name_tag {
  line_end end;
  std::size_t who;
  std::string text;
};

void draw_names(programs::svg& picture, const std::vector<name_tag>& tags, const programs::axis& x,
                const programs::axis& y) {
  std::vector<double> wanted;
  for (const auto& tag : tags)
    wanted.push_back(tag.end.at.y);
  const auto places =
      programs::moved_apart(wanted, line_height, {y.places.high - 2, y.places.low - 2});
  const double edge = x.places.high;
  for (std::size_t i = 0; i < tags.size(); ++i) {
    const auto [line, text] = programs::shade_of(tags[i].who);
    const point from = tags[i].end.at;
    draw_end(picture, tags[i].end, line);
    if (edge - from.x > 6)
      picture.line({from.x + 5, from.y}, {edge, from.y},
                   {.colour = line, .width = 0.75, .dashes = "1 3"});
    picture.line({edge + 1, from.y}, {edge + 9, places[i]}, {.colour = line, .width = 0.75});
    picture.text({edge + 12, places[i] + 3.7}, tags[i].text, {.size = 11, .colour = text});
  }
}

struct best_mark {
  point at;
  std::size_t who;
  std::string text;
};

std::size_t best_of(const curve& c, bool less) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < c.values.size(); ++i) {
    const double v = c.values[i], b = c.values[best];
    if (std::isfinite(v) && (!std::isfinite(b) || (less ? v < b : v > b)))
      best = i;
  }
  return best;
}

void draw_best(programs::svg& picture, const std::vector<best_mark>& marks,
               const std::vector<programs::box>& lines, const programs::box& area) {
  for (const auto& mark : marks)
    picture.circle(mark.at, 3.2, programs::shade_of(mark.who).line, "#ffffff");
  if (!numbers_at_dots(marks.size()))
    return;
  std::vector<point> dots;
  std::vector<programs::box> sizes;
  for (const auto& mark : marks) {
    dots.push_back(mark.at);
    sizes.push_back({0, 0, programs::text_width(mark.text, 10) + 2, 11});
  }
  const auto places = programs::boxes_beside(dots, sizes, lines, area);
  for (std::size_t i = 0; i < marks.size(); ++i)
    picture.text({places[i].x + 1, places[i].y + 9}, marks[i].text,
                 {.size = 10, .colour = programs::shade_of(marks[i].who).text, .halo = true});
}

void draw_panel(programs::svg& picture, const std::string& key, const std::vector<run>& runs,
                std::size_t window, interval steps, const programs::box& area) {
  const auto [values, shown] = value_axis_of(key, runs);
  const programs::axis x{steps, {area.x, area.x + area.width}};
  const programs::axis y{values, {area.y + area.height, area.y}, {}, shown};
  const bool training = key == "loss";
  const bool smooth = training && window > 1;
  const std::string note = smooth ? "mean of " + std::to_string(window) + " steps"
                           : training || numbers_at_dots(runs.size()) ? ""
                                                                      : "in brackets: the best";
  draw_axes(picture, x, y, {title_of(key), note, "step"});

  std::vector<name_tag> tags;
  std::vector<best_mark> marks;
  std::vector<programs::box> lines;
  picture.begin_clip({area.x - 2, area.y, area.width + 4, area.height + 2});
  if (smooth)
    for (std::size_t r = 0; r < runs.size(); ++r)
      picture.curve(points_of(runs[r].loss, x, y), {.colour = programs::shade_of(r).line,
                                                    .width = 0.6,
                                                    .opacity = runs.size() > 3 ? 0.16 : 0.28});
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const curve* line = runs[r].line(key);
    if (!line)
      continue;
    const auto points = points_of(*line, x, y);
    const auto colour = programs::shade_of(r).line;
    picture.curve(points, {.colour = colour, .width = 1.6, .dashes = programs::dashes_of(r)});
    programs::append_boxes_along(points, lines);
    tags.push_back({end_of(*line, x, y), r, runs[r].name});
    if (training)
      continue;
    if (static_cast<double>(points.size()) < area.width / 9)
      for (const auto& at : points)
        if (std::isfinite(at.y))
          picture.circle(at, 1.7, colour);
    const std::size_t best = best_of(*line, less_is_better(key));
    const std::string number = programs::short_number(line->values[best], shown);
    if (line->values[best] <= values.high)
      marks.push_back({{x(line->steps[best]), y(line->values[best])}, r, number});
    if (!numbers_at_dots(runs.size()))
      tags.back().text += " (" + number + ")";
  }
  picture.end_clip();
  draw_best(picture, marks, lines, {area.x + 2, area.y - 8, area.width - 4, area.height + 6});
  draw_names(picture, tags, x, y);
}

// ---- the picture --------------------------------------------------------------------------------

interval steps_of(const std::vector<run>& runs) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  interval steps{infinity, -infinity};
  for (const auto& r : runs)
    for (const auto& [key, line] : r.lines) {
      steps.low = std::min(steps.low, line.steps.front());
      steps.high = std::max(steps.high, line.steps.back());
    }
  if (steps.low >= 0 && steps.low <= 0.2 * steps.high)
    steps.low = 0;
  return steps.high > steps.low ? steps : programs::padded(steps);
}

// A fiftieth of the longest run, so that smoothing changes no trend.
std::size_t usual_window(const std::vector<run>& runs) {
  std::size_t longest = 0;
  for (const auto& r : runs)
    longest = std::max(longest, r.loss.steps.size());
  return std::clamp<std::size_t>(longest / 50, 1, 1000);
}

std::string drawn(const std::vector<run>& runs, std::size_t window, const std::string& title) {
  const auto keys = keys_of(runs);
  const interval steps = steps_of(runs);
  double longest = 0;
  for (const auto& r : runs)
    longest = std::max(longest, programs::text_width(r.name, 11));
  if (!numbers_at_dots(runs.size()))
    longest += programs::text_width(" (100.0%)", 11);

  const std::size_t columns = keys.size() == 3 ? 3 : std::min<std::size_t>(keys.size(), 2);
  const std::size_t rows = (keys.size() + columns - 1) / columns;
  const double left = 46, width = 250, right = longest + 22;
  const double above = 34, height = std::max(165.0, line_height * static_cast<double>(runs.size())),
               below = 42;
  const double head = title.empty() ? 0 : 28;
  programs::svg picture(std::max(static_cast<double>(columns) * (left + width + right) + 4,
                                 left + 1.1 * programs::text_width(title, 14)),
                        head + static_cast<double>(rows) * (above + height + below),
                        title.empty() ? "Training curves" : title);
  if (!title.empty())
    picture.text({left, 24}, title, {.size = 14, .bold = true});
  for (std::size_t i = 0; i < keys.size(); ++i)
    draw_panel(picture, keys[i], runs, window, steps,
               {static_cast<double>(i % columns) * (left + width + right) + left,
                head + static_cast<double>(i / columns) * (above + height + below) + above, width,
                height});
  return picture.finished();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Draws the curves of trainings: the loss of the steps, and the dev texts' loss and metrics, "
      "the best of each marked.",
      "graft-plot");
  std::vector<std::string> logs;
  std::string out, title;
  std::size_t window = 0;
  app.add_option("LOG", logs, "Logs that graft-finetune wrote with --log, one per run")
      ->required()
      ->type_name("FILE");
  app.add_option("--out", out, "File for the picture, an SVG")->required()->type_name("FILE");
  app.add_option("--title", title, "Stands above the picture")->type_name("TEXT");
  app.add_option("--smooth", window,
                 "Steps that the line of the training loss is the mean of (default: a fiftieth of "
                 "the longest run, 1000 at most)")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));

  return programs::run(app, argc, argv, [&] {
    if (std::set<std::string>(logs.begin(), logs.end()).size() != logs.size())
      throw CLI::ValidationError("LOG", "expected each log once");
    if (std::find(logs.begin(), logs.end(), out) != logs.end())
      throw CLI::ValidationError("--out", "expected another file than the logs, found " + out);
    programs::expect_writable(out);
    std::vector<run> runs;
    const auto names = programs::short_names(logs);
    for (std::size_t i = 0; i < logs.size(); ++i) {
      runs.push_back({names[i], programs::read_training_log(logs[i]), {}});
      if (const curve* loss = runs.back().line("loss"))
        runs.back().loss = *loss;
    }
    if (window == 0)
      window = usual_window(runs);
    for (auto& r : runs)
      if (r.lines.contains("loss"))
        r.lines["loss"] = programs::smoothed(r.loss, window);
    const std::string picture = drawn(runs, window, title);
    graft::write_atomically(out, [&](graft::output_file& file) { file.write(picture); });
  });
}
