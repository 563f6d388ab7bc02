// SPDX-License-Identifier: MIT
// Splits labelled texts into files for training and evaluation, groups of lines being kept whole.
#include "support/program.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>
#include <graft/text/tsv.hpp>
#include <graft/train/splits.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

struct settings {
  std::string data, out;
  std::vector<double> shares{80, 10, 10};
  std::size_t group_column = 0, folds = 0;
  std::uint64_t seed = 0;
};

struct table {
  std::string header{};  // "" where the file has none
  std::vector<graft::labelled_text> lines{};
  std::vector<std::string> groups{};  // of each line; empty without a group column
};

bool is_header(std::string_view columns) {
  return columns == "sentence\tlabel" || columns == "text\tlabel";
}

// Where column `number`, counted from 1, of a line is; npos where there is none.
std::size_t start_of_column(std::string_view line, std::size_t number) {
  std::size_t at = 0;
  for (; number > 1 && at != std::string_view::npos; --number)
    if (at = line.find('\t', at); at != std::string_view::npos)
      ++at;
  return at;
}

// What graft::read_labelled reads, with further columns, of which one may be the group.
table read_table(const settings& s) {
  const std::string bytes = graft::read_text(s.data);
  std::string_view rest = bytes;
  if (rest.starts_with("\xEF\xBB\xBF"))
    rest.remove_prefix(3);
  table t;
  for (graft::index_t number = 1; !rest.empty(); ++number) {
    const auto end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r'))
      line.remove_suffix(1);
    const auto third = start_of_column(line, 3);
    const std::string_view two = third == line.npos ? line : line.substr(0, third - 1);
    if (number == 1 && is_header(two)) {
      t.header = two;
      continue;
    }
    const std::string place = s.data + ":" + std::to_string(number);
    t.lines.push_back(graft::text_detail::read_labelled_line(two, place));
    if (s.group_column == 0)
      continue;
    const auto start = start_of_column(line, s.group_column);
    const std::string column = "column " + std::to_string(s.group_column);
    if (start == line.npos)
      throw graft::input_error(place + ": expected a group in " + column + ", found " +
                               std::to_string(std::count(line.begin(), line.end(), '\t') + 1) +
                               " columns");
    t.groups.emplace_back(line.substr(start, line.find('\t', start) - start));
    if (t.groups.back().empty())
      throw graft::input_error(place + ": expected a group in " + column +
                               ", found an empty column");
  }
  if (t.lines.empty())
    throw graft::input_error(s.data + ": expected lines text<TAB>label, found none");
  return t;
}

// A number for each line: equal for lines of equal texts or equal groups, and for what these
// connect.
std::vector<std::uint32_t> groups_of(const table& t) {
  std::vector<std::uint32_t> parent(t.lines.size());
  std::iota(parent.begin(), parent.end(), 0u);
  const auto root = [&](std::uint32_t i) {
    while (parent[i] != i)
      i = parent[i] = parent[parent[i]];
    return i;
  };
  std::unordered_map<std::string_view, std::uint32_t> first_text, first_group;
  for (std::uint32_t i = 0; i < parent.size(); ++i) {
    parent[root(i)] = root(first_text.try_emplace(t.lines[i].text, i).first->second);
    if (!t.groups.empty())
      parent[root(i)] = root(first_group.try_emplace(t.groups[i], i).first->second);
  }
  for (std::uint32_t i = 0; i < parent.size(); ++i)
    parent[i] = root(i);
  return parent;
}

struct output {
  std::filesystem::path path;
  std::vector<std::uint32_t> lines;
};

std::string bytes_of(const table& t, const output& file) {
  std::string bytes;
  for (const auto i : file.lines)
    bytes += t.lines[i].text + "\t" + t.lines[i].label + "\n";
  // A first line that would be taken for a header, or a byte order mark, gets one before it.
  const bool misread =
      is_header(bytes.substr(0, bytes.find('\n'))) || bytes.starts_with("\xEF\xBB\xBF");
  const std::string header = t.header.empty() && misread ? "text\tlabel" : t.header;
  return header.empty() ? bytes : header + "\n" + bytes;
}

// All of the files or none, as far as the operating system lets it: all are written under temporary
// names before the first takes its own.
void write_all(const table& t, std::span<const output> files) {
  if (files.empty())
    return;
  graft::write_atomically(files.front().path, [&](graft::output_file& file) {
    file.write(bytes_of(t, files.front()));
    write_all(t, files.subspan(1));
  });
}

// The files of the parts: train, dev and test; or a folder with train and dev for each fold.
std::vector<output> files_of(const settings& s, const graft::index_lists& parts) {
  const std::filesystem::path folder = s.out;
  std::vector<output> files;
  const char* const names[] = {"train.tsv", "dev.tsv", "test.tsv"};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (s.folds == 0) {
      files.push_back({folder / names[i], parts[i]});
      continue;
    }
    auto [train, held_out] = graft::fold_at(parts, i);
    const auto fold = folder / ("fold_" + std::to_string(i));
    files.push_back({fold / names[0], std::move(train)});
    files.push_back({fold / names[1], std::move(held_out)});
  }
  return files;
}

// Parts of an older split beside the new ones would be taken for its own.
void expect_no_others(const settings& s, const std::vector<output>& files) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(s.out, none)) {
    const std::string name = entry.path().filename().string();
    const bool part =
        name == "train.tsv" || name == "dev.tsv" || name == "test.tsv" || name.starts_with("fold_");
    const bool ours = std::any_of(files.begin(), files.end(), [&](const output& file) {
      return file.path == entry.path() || file.path.parent_path() == entry.path();
    });
    if (part && !ours)
      throw graft::error(s.out + ": expected no parts of another split, found " + name);
  }
}

std::map<std::string, std::size_t> count_labels(const table& t,
                                                const std::vector<std::uint32_t>& lines) {
  std::map<std::string, std::size_t> counts;
  for (const auto i : lines)
    ++counts[t.lines[i].label];
  return counts;
}

std::string percent(std::size_t part, std::size_t whole) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f%%",
                100 * static_cast<double>(part) / static_cast<double>(whole));
  return text;
}

// Lines, groups and the labels' shares: a column for all of the data, then one for each part.
void print_table(const table& t, const settings& s, const graft::label_set& labels,
                 const std::vector<std::uint32_t>& groups, graft::index_lists parts) {
  std::vector<std::vector<std::string>> rows{{"", "all"}, {"lines"}, {"share"}, {"groups"}};
  for (std::size_t i = 0; i < parts.size(); ++i)
    rows[0].push_back(s.folds > 0 ? "fold_" + std::to_string(i)
                                  : std::string(i == 0   ? "train"
                                                : i == 1 ? "dev"
                                                         : "test"));
  for (const std::string& label : labels.labels())
    rows.push_back({"label " + label});
  std::vector<std::uint32_t> all(t.lines.size());
  std::iota(all.begin(), all.end(), 0u);
  parts.insert(parts.begin(), std::move(all));
  for (const auto& part : parts) {
    std::set<std::uint32_t> distinct;
    for (const auto i : part)
      distinct.insert(groups[i]);
    rows[1].push_back(std::to_string(part.size()));
    rows[2].push_back(percent(part.size(), t.lines.size()));
    rows[3].push_back(std::to_string(distinct.size()));
    auto counts = count_labels(t, part);
    for (std::size_t k = 0; k < labels.labels().size(); ++k)
      rows[4 + k].push_back(percent(counts[labels.labels()[k]], part.size()));
  }
  const auto width = [](const std::string& text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));  // characters
  };
  std::size_t first = 0, others = 6;
  for (const auto& row : rows) {
    first = std::max(first, width(row[0]));
    for (std::size_t c = 1; c < row.size(); ++c)
      others = std::max(others, width(row[c]));
  }
  for (const auto& row : rows) {
    std::cout << row[0] << std::string(first - width(row[0]), ' ');
    for (std::size_t c = 1; c < row.size(); ++c)
      std::cout << std::string(others + 2 - width(row[c]), ' ') << row[c];
    std::cout << '\n';
  }
}

void add_options(CLI::App& app, settings& s) {
  app.add_option("--data", s.data, "Lines text<TAB>label; further columns are not written")
      ->required()
      ->type_name("FILE");
  app.add_option("--out", s.out, "Folder for the parts; files of the same names are replaced")
      ->required()
      ->type_name("DIR");
  auto* shares = app.add_option("--shares", s.shares,
                                "Of train.tsv, dev.tsv and test.tsv, or of the first two, in "
                                "relation to each other (default: 80,10,10)")
                     ->delimiter(',')
                     ->type_name("A,B,C")
                     ->check(CLI::PositiveNumber);
  app.add_option("--folds", s.folds,
                 "Write K folds of a cross-validation instead: fold_0/train.tsv, fold_0/dev.tsv, …")
      ->type_name("K")
      ->check(CLI::Range(2, 100))
      ->excludes(shares);
  app.add_option("--group-column", s.group_column,
                 "Column, from 3 on, whose equal values stay together")
      ->type_name("N")
      ->check(CLI::Range(3, 1 << 20));
  app.add_option("--seed", s.seed, "Of which groups go where")->capture_default_str();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Splits labelled texts into files for training and evaluation. Lines with the same text are "
      "one group, whatever their labels; with --group-column so are lines with the same value "
      "there, "
      "and groups that have a line in common. A group is never parted; sizes and labels come as "
      "near "
      "to their shares as whole groups allow.",
      "graft-split");
  settings s;
  add_options(app, s);
  return programs::run(app, argc, argv, [&] {
    if (s.shares.size() < 2 || s.shares.size() > 3)
      throw CLI::ValidationError(
          "--shares", "expected 2 or 3 numbers, found " + std::to_string(s.shares.size()));
    const table t = read_table(s);
    const graft::label_set labels(t.lines);
    std::vector<std::int32_t> classes;
    for (const auto& line : t.lines)
      classes.push_back(static_cast<std::int32_t>(labels.index_of(line, s.data)));
    const auto groups = groups_of(t);
    const std::size_t found = std::set<std::uint32_t>(groups.begin(), groups.end()).size();
    const std::size_t needed = s.folds > 0 ? s.folds : s.shares.size();
    if (found < needed)
      throw graft::input_error(s.data + ": expected at least " + std::to_string(needed) +
                               " groups, one for each part, found " + std::to_string(found));
    const auto parts = s.folds > 0 ? graft::folds(groups, classes, s.folds, s.seed)
                                   : graft::split_groups(groups, classes, s.shares, s.seed);

    const auto files = files_of(s, parts);
    expect_no_others(s, files);
    for (const output& file : files) {
      graft::create_folder(file.path.parent_path());
      programs::expect_writable(file.path.string());
    }
    write_all(t, files);
    print_table(t, s, labels, groups, parts);
    for (const output& file : files)
      if (file.path.filename() == "train.tsv") {
        const auto counts = count_labels(t, file.lines);
        for (const std::string& label : labels.labels())
          if (!counts.contains(label))
            programs::say(
                app, "warning: " + file.path.string() + " has no text of label \"" + label + "\"");
      }
  });
}
