// SPDX-License-Identifier: MIT
#include "support/svg.hpp"

#include <graft/text/unicode.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace programs {

namespace {

// Two decimals at most, independent of the locale.
std::string coordinate(double value) {
  char digits[64];
  const double kept = std::clamp(std::isfinite(value) ? value : 0.0, -1e6, 1e6);
  const double rounded = std::round(kept * 100) / 100 + 0.0;
  return {digits, std::to_chars(digits, digits + sizeof digits, rounded).ptr};
}

std::string attribute(std::string_view name, double value) {
  return " " + std::string(name) + "=\"" + coordinate(value) + "\"";
}
std::string attribute(std::string_view name, std::string_view value) {
  return " " + std::string(name) + "=\"" + std::string(value) + "\"";
}

std::string pen_attributes(const pen& with) {
  std::string text = attribute("stroke", with.colour) + attribute("stroke-width", with.width);
  if (with.opacity < 1)
    text += attribute("stroke-opacity", with.opacity);
  if (!with.dashes.empty())
    text += attribute("stroke-dasharray", with.dashes);
  return text;
}

std::string escaped(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    const auto front = graft::unicode::decode_front(text);
    const bool held = front.length > 0 && front.point != 0xfffe && front.point != 0xffff &&
                      (front.point >= 0x20 || front.point == '\t' || front.point == '\n');
    const auto length = static_cast<std::size_t>(std::max(front.length, 1));
    switch (held ? text.front() : '\0') {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += held ? text.substr(0, length) : "\xef\xbf\xbd";
    }
    text.remove_prefix(length);
  }
  return safe;
}

}  // namespace

shade shade_of(std::size_t i) {
  constexpr std::array<shade, shade_count> shades{{{"#0072b2", "#005a8e"},
                                                   {"#d55e00", "#a64900"},
                                                   {"#009e73", "#00704f"},
                                                   {"#cc79a7", "#9c4776"},
                                                   {"#e69f00", "#8f6200"},
                                                   {"#56b4e9", "#1f78ab"},
                                                   {"#000000", "#000000"}}};
  return shades[i % shade_count];
}

std::string_view dashes_of(std::size_t i) {
  constexpr std::array<std::string_view, 4> patterns{"", "6 3", "1.5 2.5", "8 3 1.5 3"};
  return patterns[i / shade_count % patterns.size()];
}

double text_width(std::string_view text, double size) {
  double width = 0;  // in Helvetica
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xc0u) == 0x80u)  // goes on with a character
      continue;
    if (std::string_view("ijl.,:;|!' ").find(c) != std::string_view::npos)
      width += 0.28;
    else if (std::string_view("frt()-/").find(c) != std::string_view::npos)
      width += 0.34;
    else if (std::string_view("mwMW%@").find(c) != std::string_view::npos)
      width += 0.87;
    else if (c >= 'A' && c <= 'Z')
      width += 0.69;
    else
      width += static_cast<unsigned char>(c) >= 0xe0u ? 1 : 0.556;
  }
  return 1.12 * width * size;  // the usual substitutes run wider
}

svg::svg(double width, double height, std::string_view title) {
  body_ = "<svg xmlns=\"http://www.w3.org/2000/svg\"" + attribute("width", width) +
          attribute("height", height) + " viewBox=\"0 0 " + coordinate(width) + " " +
          coordinate(height) +
          "\" role=\"img\" font-family=\"Helvetica, Arial, sans-serif\" fill=\"none\">\n<title>" +
          escaped(title) + "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
}

void svg::line(point from, point to, const pen& with) {
  body_ += "<line" + attribute("x1", from.x) + attribute("y1", from.y) + attribute("x2", to.x) +
           attribute("y2", to.y) + pen_attributes(with) + "/>\n";
}

void svg::curve(std::span<const point> points, const pen& with) {
  std::string path;
  bool drawing = false;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto [x, y] = points[i];
    if (std::isnan(x) || std::isnan(y)) {
      drawing = false;
      continue;
    }
    path += (drawing ? "L" : "M") + coordinate(x) + " " + coordinate(y);
    if (!drawing && (i + 1 == points.size() || std::isnan(points[i + 1].y)))
      path += "h0";
    drawing = true;
  }
  if (!path.empty())
    body_ += "<path" + attribute("d", path) + pen_attributes(with) +
             " stroke-linejoin=\"round\" stroke-linecap=\"round\"/>\n";
}

void svg::polygon(std::span<const point> corners, std::string_view fill) {
  std::string places;
  for (const auto& [x, y] : corners)
    places += (places.empty() ? "" : " ") + coordinate(x) + "," + coordinate(y);
  body_ += "<polygon" + attribute("points", places) + attribute("fill", fill) + "/>\n";
}

void svg::circle(point centre, double radius, std::string_view fill, std::string_view rim) {
  body_ += "<circle" + attribute("cx", centre.x) + attribute("cy", centre.y) +
           attribute("r", radius) + attribute("fill", fill) + attribute("stroke", rim) + "/>\n";
}

void svg::text(point at, std::string_view text, const lettering& style) {
  std::string start =
      "<text" + attribute("x", at.x) + attribute("y", at.y) + attribute("font-size", style.size);
  if (style.from != anchor::start)
    start += attribute("text-anchor", style.from == anchor::middle ? "middle" : "end");
  if (style.bold)
    start += attribute("font-weight", "bold");
  const std::string end = ">" + escaped(text) + "</text>\n";
  // Not every reader knows paint-order: the rim is a text of its own.
  if (style.halo)
    body_ += start + " aria-hidden=\"true\"" +
             pen_attributes({.colour = "#ffffff", .width = 2.5, .opacity = 0.85}) + end;
  body_ += start + attribute("fill", style.colour) + end;
}

void svg::begin_clip(const box& area) {
  const std::string name = "clip" + std::to_string(++clips_);
  body_ += "<clipPath id=\"" + name + "\"><rect" + attribute("x", area.x) + attribute("y", area.y) +
           attribute("width", area.width) + attribute("height", area.height) +
           "/></clipPath>\n<g clip-path=\"url(#" + name + ")\">\n";
}

void svg::end_clip() { body_ += "</g>\n"; }

}  // namespace programs
