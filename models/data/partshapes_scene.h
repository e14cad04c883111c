// How PartShapes paints: sample points hold numbers of inks, primitives overwrite them in drawing order, and
// pixels are averages and majorities over their points.
//
// Inks rather than colours keep the canvas at a byte a point and let a pixel of one ink be settled at once.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace vitrine::data::scene {

using Rgb = std::array<double, 3>;

constexpr Rgb grey(double level) noexcept { return {level, level, level}; }
/// Red, green, blue, yellow, cyan, magenta.
Rgb colour(int index) noexcept;
/// Of bodies, walls and decks.
Rgb object_grey(int index) noexcept;

struct Point {
  double x, y;
};

/// A region: everything is inclusive of its boundary.
struct Figure {
  enum class Kind : std::uint8_t { box, ellipse, triangle } kind;
  std::array<Point, 3> p;  ///< box, ellipse: p[0] the centre, p[1] the half-sides or radii; triangle: its corners

  static Figure box(Point centre, Point half) { return {Kind::box, {centre, half, {}}}; }
  static Figure ellipse(Point centre, Point radii) { return {Kind::ellipse, {centre, radii, {}}}; }
  static Figure triangle(Point a, Point b, Point c) { return {Kind::triangle, {a, b, c}}; }
  /// Circle, square or upright triangle (kind 0, 1, 2), all of the area of a circle of radius r.
  static Figure equal_area(Point centre, double r, int kind);
};

/// Colour and marks: 0 plain, 1 diagonal stripes, 2 dots, both at a quarter of the colour's brightness.
struct Fill {
  Rgb rgb;
  int pattern = 0;
  double scale = 1;   ///< of the figure's coordinates (relative to `origin`) to those of the pattern
  double period = 1;  ///< in the latter
  Point origin{0, 0};
};

/// From pixels to the frame in which a figure is described: ((X-x0)/a - dx, (Y-y0)/a - dy), the first mirrored before
/// the displacement.
struct Frame {
  double x0 = 0, y0 = 0, a = 1;
  bool flip = false;
  Point displacement{0, 0};
  Point to_pixels(Point) const noexcept;
};

struct Background {
  int texture;
  double base, period;  ///< grey level; pixels
  double phase;         ///< in periods
  std::uint64_t seed;
};

class Canvas {
 public:
  Canvas(int size, int samples);

  void background(const Background&);
  /// `owner` tells regions of one id apart (distractors).
  void paint(const Frame&, const Figure&, const Fill&, std::uint8_t id, std::uint8_t owner = 0);
  /// The half-open pixel box [x0,x1) x [y0,y1).
  void rectangle(double x0, double y0, double x1, double y1, const Rgb&, std::uint8_t id);

  /// Averages, planar, and majorities: the id with most of a pixel's points (ties to the larger id); of the points of
  /// that id, the owner with most (ties to the larger).
  void resolve(std::vector<double>& rgb, std::vector<std::uint8_t>& ids, std::vector<std::uint8_t>& owners) const;

 private:
  void noise(std::uint64_t seed, std::uint8_t bright, std::uint8_t dark);
  struct Ink {
    Rgb rgb;
    std::uint8_t id, owner;
  };
  std::uint8_t ink(const Rgb&, std::uint8_t id, std::uint8_t owner = 0);
  int first_at(double pixels) const noexcept;  // the first point that is not left of this place, clipped to the canvas

  int size_, samples_, side_;
  std::vector<double> at_;           // coordinates of points, the same in x and y
  std::vector<std::uint8_t> point_;  // inks, side_ x side_
  std::vector<Ink> inks_;
};

}  // namespace vitrine::data::scene
