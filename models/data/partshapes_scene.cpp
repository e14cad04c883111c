#include "models/data/partshapes_scene.h"

#include <algorithm>
#include <cmath>

#include "models/data/partshapes.h"

namespace vitrine::data::scene {
namespace {

// In [0,period): the specification's mod.
double floor_mod(double x, double period) { return x - std::floor(x / period) * period; }
double fraction(double x) { return x - std::floor(x); }

bool in_upper_half_period(double x) { return fraction(x) < .5; }

constexpr double half_sqrt2 = .70710678;  // as the specification has it: the goldens depend on its digits

// Positive on one side of the line a-b, negative on the other, 0 on it.
double side_of(Point p, Point a, Point b) { return (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x); }

bool in_triangle(const std::array<Point, 3>& t, Point p) {
  const double s0 = side_of(p, t[0], t[1]), s1 = side_of(p, t[1], t[2]), s2 = side_of(p, t[2], t[0]);
  return (s0 >= 0 && s1 >= 0 && s2 >= 0) || (s0 <= 0 && s1 <= 0 && s2 <= 0);
}

// Is the point in a pattern's dark marks?
bool marked(const Fill& fill, Point p) {
  const double x = (p.x - fill.origin.x) * fill.scale, y = (p.y - fill.origin.y) * fill.scale;
  if (fill.pattern == 1) return in_upper_half_period((x + y) * half_sqrt2 / fill.period);
  const double dx = floor_mod(x, fill.period) - fill.period / 2, dy = floor_mod(y, fill.period) - fill.period / 2;
  return dx * dx + dy * dy < (.33 * fill.period) * (.33 * fill.period);
}

struct Extent {
  Point low, high;
};

Extent extent(const Figure& f) {
  if (f.kind != Figure::Kind::triangle)
    return {{f.p[0].x - f.p[1].x, f.p[0].y - f.p[1].y}, {f.p[0].x + f.p[1].x, f.p[0].y + f.p[1].y}};
  return {{std::min({f.p[0].x, f.p[1].x, f.p[2].x}), std::min({f.p[0].y, f.p[1].y, f.p[2].y})},
          {std::max({f.p[0].x, f.p[1].x, f.p[2].x}), std::max({f.p[0].y, f.p[1].y, f.p[2].y})}};
}

}  // namespace

Rgb colour(int index) noexcept {
  constexpr Rgb table[6] = {{.86, .16, .16}, {.16, .70, .24}, {.18, .34, .88},
                            {.93, .85, .18}, {.16, .80, .82}, {.84, .24, .80}};
  return table[index];
}

Rgb object_grey(int index) noexcept {
  constexpr double table[3] = {.55, .70, .85};
  return grey(table[index]);
}

Figure Figure::equal_area(Point c, double r, int kind) {
  if (kind == 0) return ellipse(c, {r, r});
  if (kind == 1) return box(c, {.886227 * r, .886227 * r});
  const double s = 2.693547 * r, h = .866025 * s;
  return triangle({c.x, c.y - 2 * h / 3}, {c.x - s / 2, c.y + h / 3}, {c.x + s / 2, c.y + h / 3});
}

Point Frame::to_pixels(Point p) const noexcept {
  const double u = p.x + displacement.x, v = p.y + displacement.y;
  return {x0 + a * (flip ? 1 - u : u), y0 + a * v};
}

Canvas::Canvas(int size, int samples) : size_(size), samples_(samples), side_(size * samples) {
  at_.resize(static_cast<std::size_t>(side_));
  for (int k = 0; k < side_; ++k) at_[static_cast<std::size_t>(k)] = (k + .5) / samples;
  point_.resize(at_.size() * at_.size());
}

std::uint8_t Canvas::ink(const Rgb& rgb, std::uint8_t id, std::uint8_t owner) {
  inks_.push_back({rgb, id, owner});
  return static_cast<std::uint8_t>(inks_.size() - 1);
}

int Canvas::first_at(double pixels) const noexcept {
  // One point of slack on the left costs nothing; callers test points anyway.
  return static_cast<int>(std::clamp(std::floor(pixels * samples_) - 1, 0., static_cast<double>(side_)));
}

void Canvas::background(const Background& b) {
  const std::uint8_t bright = ink(grey(b.base + .10), part_id::background);
  const std::uint8_t dark = ink(grey(b.base - .05), part_id::background);
  const std::size_t side = at_.size();
  const double per = b.period, ph = b.phase * per;
  std::uint8_t* out = point_.data();
  const auto each = [&](auto&& condition) {
    for (std::size_t i = 0; i < side; ++i)
      for (std::size_t j = 0; j < side; ++j) *out++ = condition(i, j) ? bright : dark;
  };
  // What depends on one coordinate only is worked out once for it; the expressions stay the specification's.
  std::vector<double> t(side);
  switch (b.texture) {
    case 0:
    case 1: {
      for (std::size_t k = 0; k < side; ++k) t[k] = in_upper_half_period((at_[k] + ph) / per);
      if (b.texture == 0)
        each([&](std::size_t, std::size_t j) { return t[j] != 0; });
      else
        each([&](std::size_t i, std::size_t) { return t[i] != 0; });
      break;
    }
    case 2: {
      // X+Y is exact and takes 2 side - 1 values: samples per pixel are a power of two.
      std::vector<std::uint8_t> on(2 * side);
      for (std::size_t k = 0; k < 2 * side; ++k)
        on[k] = in_upper_half_period((static_cast<double>(k + 1) / samples_ * half_sqrt2 + ph) / per);
      each([&](std::size_t i, std::size_t j) { return on[i + j] != 0; });
      break;
    }
    case 3: {
      std::vector<std::uint8_t> odd(side);
      for (std::size_t k = 0; k < side; ++k) odd[k] = floor_mod(std::floor((at_[k] + ph) / per), 2) != 0;
      each([&](std::size_t i, std::size_t j) { return odd[i] == odd[j]; });
      break;
    }
    case 4: {
      for (std::size_t k = 0; k < side; ++k) {
        const double d = floor_mod(at_[k] + ph, per) - per / 2;
        t[k] = d * d;
      }
      const double limit = (.28 * per) * (.28 * per);
      each([&](std::size_t i, std::size_t j) { return t[j] + t[i] < limit; });
      break;
    }
    default:
      noise(b.seed, bright, dark);
  }
}

// Bright where a lattice of 17 x 17 random values, interpolated bilinearly, is above 1/2.
void Canvas::noise(std::uint64_t seed, std::uint8_t bright, std::uint8_t dark) {
  const std::size_t side = at_.size();
  double lattice[17][17];
  SplitMix64 random(seed);
  for (auto& row : lattice)
    for (double& v : row) v = random.u();
  const double cell = size_ / 16.;
  std::vector<double> top(side), bottom(side);
  std::uint8_t* out = point_.data();
  int row = -1;
  for (std::size_t i = 0; i < side; ++i) {
    const double y = at_[i] / cell;
    const int cy = std::min(static_cast<int>(y), 15);
    if (cy != row) {
      row = cy;
      for (std::size_t j = 0; j < side; ++j) {
        const double x = at_[j] / cell;
        const int cx = std::min(static_cast<int>(x), 15);
        const double fx = x - cx;
        top[j] = (1 - fx) * lattice[cy][cx] + fx * lattice[cy][cx + 1];
        bottom[j] = (1 - fx) * lattice[cy + 1][cx] + fx * lattice[cy + 1][cx + 1];
      }
    }
    const double fy = y - cy;
    for (std::size_t j = 0; j < side; ++j) *out++ = (1 - fy) * top[j] + fy * bottom[j] > .5 ? bright : dark;
  }
}

void Canvas::paint(const Frame& frame, const Figure& figure, const Fill& fill, std::uint8_t id, std::uint8_t owner) {
  const std::uint8_t plain = ink(fill.rgb, id, owner);
  const std::uint8_t mark =
      fill.pattern == 0 ? plain : ink({fill.rgb[0] * .25, fill.rgb[1] * .25, fill.rgb[2] * .25}, id, owner);

  // Only points near the figure are tested.
  const Extent e = extent(figure);
  const Point p = frame.to_pixels(e.low), q = frame.to_pixels(e.high);
  const int j0 = first_at(std::min(p.x, q.x)), j1 = std::min(first_at(std::max(p.x, q.x)) + 3, side_);
  const int i0 = first_at(p.y), i1 = std::min(first_at(q.y) + 3, side_);
  if (j0 >= j1 || i0 >= i1) return;

  const std::size_t width = static_cast<std::size_t>(j1 - j0);
  std::vector<double> us(width), test(width);
  for (std::size_t j = 0; j < width; ++j) {
    double u = (at_[static_cast<std::size_t>(j0) + j] - frame.x0) / frame.a;
    if (frame.flip) u = 1 - u;
    us[j] = u - frame.displacement.x;
    const double x = us[j] - figure.p[0].x;
    if (figure.kind == Figure::Kind::ellipse) test[j] = (x / figure.p[1].x) * (x / figure.p[1].x);
    if (figure.kind == Figure::Kind::box) test[j] = std::abs(x);
  }
  for (int i = i0; i < i1; ++i) {
    const double v = (at_[static_cast<std::size_t>(i)] - frame.y0) / frame.a - frame.displacement.y;
    std::uint8_t* row = &point_[static_cast<std::size_t>(i) * at_.size() + static_cast<std::size_t>(j0)];
    const auto fill_where = [&](auto&& inside) {
      for (std::size_t j = 0; j < width; ++j)
        if (inside(j)) row[j] = fill.pattern != 0 && marked(fill, {us[j], v}) ? mark : plain;
    };
    const double y = v - figure.p[0].y;
    switch (figure.kind) {
      case Figure::Kind::box:
        if (std::abs(y) <= figure.p[1].y) fill_where([&](std::size_t j) { return test[j] <= figure.p[1].x; });
        break;
      case Figure::Kind::ellipse: {
        const double yy = (y / figure.p[1].y) * (y / figure.p[1].y);
        fill_where([&](std::size_t j) { return test[j] + yy <= 1; });
        break;
      }
      case Figure::Kind::triangle:
        fill_where([&](std::size_t j) { return in_triangle(figure.p, {us[j], v}); });
        break;
    }
  }
}

void Canvas::rectangle(double x0, double y0, double x1, double y1, const Rgb& rgb, std::uint8_t id) {
  const std::uint8_t n = ink(rgb, id);
  const std::size_t i1 = static_cast<std::size_t>(std::min(first_at(y1) + 3, side_));
  const std::size_t j1 = static_cast<std::size_t>(std::min(first_at(x1) + 3, side_));
  for (std::size_t i = static_cast<std::size_t>(first_at(y0)); i < i1; ++i)
    for (std::size_t j = static_cast<std::size_t>(first_at(x0)); j < j1; ++j)
      if (y0 <= at_[i] && at_[i] < y1 && x0 <= at_[j] && at_[j] < x1) point_[i * at_.size() + j] = n;
}

void Canvas::resolve(std::vector<double>& rgb, std::vector<std::uint8_t>& ids,
                     std::vector<std::uint8_t>& owners) const {
  const std::size_t size = static_cast<std::size_t>(size_), samples = static_cast<std::size_t>(samples_);
  const std::size_t plane = size * size, points = samples * samples;
  rgb.assign(3 * plane, 0);
  ids.assign(plane, 0);
  owners.assign(plane, 0);
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) {
      const std::size_t at = i * size + j;
      const std::uint8_t* first = &point_[i * samples * at_.size() + j * samples];
      bool uniform = true;
      for (std::size_t y = 0; y < samples && uniform; ++y)
        for (std::size_t x = 0; x < samples; ++x) uniform &= first[y * at_.size() + x] == *first;
      if (uniform) {
        const Ink& k = inks_[*first];
        for (std::size_t c = 0; c < 3; ++c) rgb[c * plane + at] = k.rgb[c];
        ids[at] = k.id;
        owners[at] = k.owner;
        continue;
      }
      double sum[3] = {};
      std::array<int, part_id::count> votes{};
      std::array<int, 4> of_owner{};
      for (std::size_t y = 0; y < samples; ++y)
        for (std::size_t x = 0; x < samples; ++x) {
          const Ink& k = inks_[first[y * at_.size() + x]];
          for (std::size_t c = 0; c < 3; ++c) sum[c] += k.rgb[c];
          ++votes[k.id];
        }
      for (std::size_t c = 0; c < 3; ++c) rgb[c * plane + at] = sum[c] / static_cast<double>(points);
      std::size_t most = 0;
      for (std::size_t k = 1; k < votes.size(); ++k)
        if (votes[k] >= votes[most]) most = k;
      ids[at] = static_cast<std::uint8_t>(most);
      for (std::size_t y = 0; y < samples; ++y)
        for (std::size_t x = 0; x < samples; ++x)
          if (const Ink& k = inks_[first[y * at_.size() + x]]; k.id == most) ++of_owner[k.owner];
      std::size_t owner = 0;
      for (std::size_t k = 1; k < of_owner.size(); ++k)
        if (of_owner[k] > 0 && of_owner[k] >= of_owner[owner]) owner = k;
      owners[at] = static_cast<std::uint8_t>(owner);
    }
}

}  // namespace vitrine::data::scene
