#include "models/data/partshapes.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace vitrine::data::partshapes {
namespace {

struct TaskName {
  const char* name;
  Task task;
  int classes;
};
constexpr TaskName tasks[] = {
    {"code9", Task::code9, 9},     {"near9", Task::near9, 9},     {"head3", Task::head3, 3},         {"wing3", Task::wing3, 3},           {"tail3", Task::tail3, 3},
    {"legs3", Task::legs3, 3},     {"place6", Task::place6, 6},   {"and2", Task::and2, 2},           {"xor2", Task::xor2, 2},             {"eq2", Task::eq2, 2},
    {"scene6", Task::scene6, 6},   {"kind3", Task::kind3, 3},     {"code9c", Task::code9c, 9},       {"bam-obj", Task::bam_obj, 3},       {"bam-scene", Task::bam_scene, 6},
    {"scene-only", Task::scene_only, 6}, {"bam-graded", Task::bam_graded, 6}};

struct Color {
  double r, g, b;
};
constexpr Color colors[6] = {{.86, .16, .16}, {.16, .70, .24}, {.18, .34, .88}, {.93, .85, .18}, {.16, .80, .82}, {.84, .24, .80}};
constexpr double greys[3] = {.55, .70, .85};
constexpr Color grey(double v) { return {v, v, v}; }

double floor_mod(double x, double period) { return x - std::floor(x / period) * period; }

struct Point {
  double x, y;
};

bool in_triangle(Point p, Point a, Point b, Point c) {
  const auto side = [&](Point s, Point t) { return (t.x - s.x) * (p.y - s.y) - (t.y - s.y) * (p.x - s.x); };
  const double d1 = side(a, b), d2 = side(b, c), d3 = side(c, a);
  return (d1 >= 0 && d2 >= 0 && d3 >= 0) || (d1 <= 0 && d2 <= 0 && d3 <= 0);
}

bool in_ellipse(Point p, Point centre, double rx, double ry) {
  const double x = (p.x - centre.x) / rx, y = (p.y - centre.y) / ry;
  return x * x + y * y <= 1;
}

// Circle, square or upright triangle of equal area.
bool in_shape(Point p, Point c, double r, int kind) {
  if (kind == 0) return (p.x - c.x) * (p.x - c.x) + (p.y - c.y) * (p.y - c.y) <= r * r;
  if (kind == 1) return std::abs(p.x - c.x) <= .886227 * r && std::abs(p.y - c.y) <= .886227 * r;
  const double s = 2.693547 * r, h = .866025 * s;
  return in_triangle(p, {c.x, c.y - 2 * h / 3}, {c.x - s / 2, c.y + h / 3}, {c.x + s / 2, c.y + h / 3});
}

Color pattern(Color c, int kind, double u, double v, double period) {
  bool dark = false;
  if (kind == 1) dark = floor_mod((u + v) * .70710678 / period, 1) < .5;
  if (kind == 2) {
    const double x = floor_mod(u, period) - period / 2, y = floor_mod(v, period) - period / 2;
    dark = x * x + y * y < (.33 * period) * (.33 * period);
  }
  return dark ? Color{c.r * .25, c.g * .25, c.b * .25} : c;
}

struct Box {
  double x0, y0, x1, y1;
};

// What one image shows, once the task has chosen among the draws.
struct Scene {
  Draws d;
  int size = 64;
  int kind = 0;
  bool object = true;
  std::array<int, 4> slots{};
  int headc = 0, wingc = 0, bgtex = 0, tag = -1;
  bool place = false;          // place6: one part coloured, the other grey
  int place_part = 0, place_color = 0;
  std::array<bool, 4> removed{};
  struct Placed {
    int number;
    Point centre;
    double r;
  };
  std::vector<Placed> placed;
  std::vector<double> lattice;  // of the blob texture
  double x0 = 0, y0 = 0;

  double image_x(double u) const { return x0 + d.a * (d.flip ? 1 - u : u); }
  Box object_box(Box b) const {
    const double left = image_x(d.flip ? b.x1 : b.x0), right = image_x(d.flip ? b.x0 : b.x1);
    return {left, y0 + d.a * b.y0, right, y0 + d.a * b.y1};
  }

  void place_distractors() {
    std::vector<Box> forbidden = {{0, 0, 1, 1}};
    if (kind == 0) forbidden = {{.21, .33, .75, .71}, {.58, .05, 1, .46}, {.18, .19, .62, .55}, {-.02, .38, .26, .66}, {.24, .66, .72, 1}};
    for (Box& b : forbidden) {
      b = object_box(b);
      b = {b.x0 - 1.5, b.y0 - 1.5, b.x1 + 1.5, b.y1 + 1.5};
    }
    for (int k = 0; k < d.nd; ++k) {
      const Draws::Distractor& dis = d.distractors[static_cast<std::size_t>(k)];
      const double rd = dis.r * size / 64, R = 1.6 * rd;
      for (const auto& [tu, tv] : dis.tries) {
        const Point c{R + tu * (size - 2 * R), R + tv * (size - 2 * R)};
        bool free = true;
        for (const Box& b : forbidden) free = free && (c.x + R < b.x0 || c.x - R > b.x1 || c.y + R < b.y0 || c.y - R > b.y1);
        for (const Placed& p : placed) {
          const double reach = R + 1.6 * p.r;
          free = free && (c.x - p.centre.x) * (c.x - p.centre.x) + (c.y - p.centre.y) * (c.y - p.centre.y) > reach * reach;
        }
        if (!free) continue;
        placed.push_back({k, c, rd});
        break;
      }
    }
  }

  Color background(Point p) const {
    const double per = d.bgper, ph = d.bgph * per;
    bool bright = false;
    switch (bgtex) {
      case 0: bright = floor_mod((p.x + ph) / per, 1) < .5; break;
      case 1: bright = floor_mod((p.y + ph) / per, 1) < .5; break;
      case 2: bright = floor_mod(((p.x + p.y) * .70710678 + ph) / per, 1) < .5; break;
      case 3: bright = floor_mod(std::floor((p.x + ph) / per) + std::floor((p.y + ph) / per), 2) == 0; break;
      case 4: {
        const double x = floor_mod(p.x + ph, per) - per / 2, y = floor_mod(p.y + ph, per) - per / 2;
        bright = x * x + y * y < (.28 * per) * (.28 * per);
        break;
      }
      default: {
        const double cell = size / 16.0, gx = p.x / cell, gy = p.y / cell;
        const int ix = std::min(static_cast<int>(gx), 15), iy = std::min(static_cast<int>(gy), 15);
        const double fx = gx - ix, fy = gy - iy;
        const double* const row = lattice.data() + static_cast<std::ptrdiff_t>(iy) * 17 + ix;
        const double top = row[0] * (1 - fx) + row[1] * fx, bottom = row[17] * (1 - fx) + row[18] * fx;
        bright = top * (1 - fy) + bottom * fy > .5;
        break;
      }
    }
    return grey(bright ? d.bgbase + .10 : d.bgbase - .05);
  }

  // The topmost thing at a point of the object, or false.
  bool critter(Point object, int& id, Color& c) const {
    const auto local = [&](Slot s) { return Point{object.x - d.displacement[s][0], object.y - d.displacement[s][1]}; };
    if (!removed[head]) {
      const Point p = local(head);
      if (in_shape(p, {.80, .27}, .15, slots[head])) {
        id = 2;
        c = place ? (place_part == 0 ? colors[place_color] : grey(.5)) : colors[3 + headc];
        return true;
      }
    }
    if (!removed[wing]) {
      const Point p = local(wing);
      if (in_ellipse(p, {.40, .37}, .20, .15)) {
        id = 3;
        c = pattern(colors[3 + wingc], slots[wing], p.x * d.a, p.y * d.a, .115 * d.a);
        return true;
      }
    }
    if (in_ellipse(object, {.48, .52}, .27, .19)) {
      id = 1;
      c = grey(greys[d.bodyg]);
      return true;
    }
    if (!removed[legs]) {
      const Point p = local(legs);
      if (p.y >= .66 && p.y <= .975) {
        const auto leg = [&](double centre, double w) { return std::abs(p.x - centre) <= w; };
        const int n = slots[legs];
        if (n == 0 ? leg(.48, .078) : n == 1 ? leg(.36, .039) || leg(.60, .039) : leg(.30, .026) || leg(.48, .026) || leg(.66, .026)) {
          id = 5;
          c = grey(d.legc == 0 ? .05 : .97);
          return true;
        }
      }
    }
    if (!removed[tail]) {
      const Point p = local(tail);
      const bool inside = d.tails == 0   ? std::abs(p.x - .12) <= .115 && std::abs(p.y - .52) <= .075
                          : d.tails == 1 ? in_triangle(p, {.25, .52}, {0, .40}, {0, .64})
                                         : in_ellipse(p, {.12, .52}, .125, .09);
      if (inside) {
        id = 4;
        c = place ? (place_part == 1 ? colors[place_color] : grey(.5)) : colors[slots[tail]];
        return true;
      }
    }
    return false;
  }

  bool house(Point p, int& id, Color& c) const {
    const auto rect = [&](double u0, double v0, double u1, double v1) { return p.x >= u0 && p.x <= u1 && p.y >= v0 && p.y <= v1; };
    // Later ones lie on top: window, door, roof, wall, chimney.
    if (rect(.23, .54, .46, .77)) return id = 11, c = colors[d.kc[4]], true;
    if (rect(.58, .62, .76, .98)) return id = 10, c = colors[d.kc[3]], true;
    if (in_triangle(p, {.50, .03}, {0, .44}, {1, .44})) return id = 9, c = colors[d.kc[2]], true;
    if (rect(.14, .42, .86, .98)) return id = 8, c = grey(greys[d.kg]), true;
    if (rect(.66, .05, .79, .34)) return id = 12, c = colors[d.kc[0]], true;
    return false;
  }

  bool cart(Point p, int& id, Color& c) const {
    const auto rect = [&](double u0, double v0, double u1, double v1) { return p.x >= u0 && p.x <= u1 && p.y >= v0 && p.y <= v1; };
    if (in_ellipse(p, {.76, .81}, .155, .155)) return id = 17, c = colors[d.kc[4]], true;
    if (in_ellipse(p, {.24, .81}, .155, .155)) return id = 16, c = colors[d.kc[3]], true;
    if (in_ellipse(p, {.30, .31}, .16, .16)) return id = 15, c = colors[d.kc[2]], true;
    if (rect(.60, .14, .92, .47)) return id = 14, c = colors[d.kc[1]], true;
    if (rect(.03, .46, .97, .74)) return id = 13, c = grey(greys[d.kg]), true;
    return false;
  }

  Color at(Point p, bool near_object, int& id, int& distractor) const {
    Color c{};
    distractor = 0;
    if (near_object) {
      Point o{(p.x - x0) / d.a, (p.y - y0) / d.a};
      if (d.flip) o.x = 1 - o.x;
      if (kind == 0 ? critter(o, id, c) : kind == 1 ? house(o, id, c) : cart(o, id, c)) return c;
    }
    if (tag >= 0) {
      const double s = size / 64.0;
      if (p.x >= 1 * s && p.x < 8 * s && p.y >= size - 8 * s && p.y < size - 1 * s) {
        id = 7;
        return colors[p.y < size - 4.5 * s ? tag / 3 : tag % 3];
      }
    }
    for (std::size_t k = placed.size(); k-- > 0;) {
      const Placed& pl = placed[k];
      const Draws::Distractor& dis = d.distractors[static_cast<std::size_t>(pl.number)];
      if (!in_shape(p, pl.centre, pl.r, dis.kind)) continue;
      id = 6;
      distractor = 1 + pl.number;
      return pattern(colors[dis.col], dis.pat, p.x - pl.centre.x, p.y - pl.centre.y, .9 * pl.r);
    }
    id = 0;
    return background(p);
  }
};

}  // namespace

std::uint64_t seed_of(std::uint64_t master, std::uint64_t split, std::uint64_t n) noexcept {
  return SplitMix64(master * 0x9E3779B97F4A7C15u + split * 0xD1B54A32D192ED03u + n * 0x8CB92BA72F3D8DD7u).next();
}

std::optional<TaskSpec> TaskSpec::parse(const std::string& text) {
  const std::size_t open = text.find('(');
  const std::string name = text.substr(0, open);
  for (const TaskName& t : tasks) {
    if (name != t.name) continue;
    TaskSpec spec{t.task};
    if (open == std::string::npos) return spec;
    if (text.back() != ')') return {};
    const char *const begin = text.data() + open + 1, *const end = text.data() + text.size() - 1;
    double v = 0;
    const auto [rest, error] = std::from_chars(begin, end, v);
    if (error != std::errc{} || rest != end) return {};
    if (t.task == Task::code9c && v >= 0 && v <= 1) spec.rho = v;
    else if (t.task == Task::bam_graded && v == std::floor(v) && v >= 1 && v <= 6) spec.grade = static_cast<int>(v);
    else return {};
    return spec;
  }
  return {};
}

std::string TaskSpec::known() {
  std::string s;
  for (const TaskName& t : tasks) s += (s.empty() ? "" : ", ") + std::string(t.name) + (t.task == Task::code9c ? "(RHO)" : t.task == Task::bam_graded ? "(1..6)" : "");
  return s;
}

int TaskSpec::classes() const noexcept { return std::find_if(std::begin(tasks), std::end(tasks), [&](const TaskName& t) { return t.task == task; })->classes; }

std::string TaskSpec::class_name(int k) const {
  constexpr const char* heads[] = {"circle", "square", "triangle"};
  constexpr const char* wings[] = {"plain", "striped", "dotted"};
  constexpr const char* tails[] = {"red", "green", "blue"};
  constexpr const char* numbers[] = {"one", "two", "three"};
  constexpr const char* kinds[] = {"critter", "house", "cart"};
  constexpr const char* textures[] = {"vertical", "horizontal", "diagonal", "checker", "dots", "blobs"};
  switch (task) {
    case Task::code9:
    case Task::near9:
    case Task::code9c: {
      const auto w = code_word(k);
      return std::string(heads[w[0]]) + "-" + wings[w[1]] + "-" + tails[w[2]] + "-" + numbers[w[3]];
    }
    case Task::head3: return heads[k];
    case Task::wing3: return wings[k];
    case Task::tail3: return tails[k];
    case Task::legs3: return numbers[k];
    case Task::place6: return std::string(k < 3 ? "head-" : "tail-") + tails[k % 3];
    case Task::and2: return k == 1 ? "square-and-striped" : "other";
    case Task::xor2: return k == 1 ? "different" : "alike";
    case Task::eq2: return k == 1 ? "equal-colours" : "unequal-colours";
    case Task::kind3:
    case Task::bam_obj: return kinds[k];
    case Task::scene6:
    case Task::bam_scene:
    case Task::scene_only:
    case Task::bam_graded: break;
  }
  return textures[k];
}

Draws draw(std::uint64_t master, std::uint64_t split, std::uint64_t n, int size) {
  SplitMix64 s(seed_of(master, split, n));
  Draws d{};
  const auto u = [&] { return ++d.count, s.u(); };
  const auto k = [&](int m) { return ++d.count, s.k(m); };
  const auto r = [&](double a, double b) { return ++d.count, s.r(a, b); };
  const auto raw = [&] { return ++d.count, s.next(); };
  d.cls = k(9);
  d.bgtex = k(6);
  d.bgbase = r(.28, .46);
  d.bgper = r(7, 11);
  d.bgph = u();
  d.bgseed = raw();
  d.a = r(.62, .80) * size;
  d.ox = u();
  d.oy = u();
  d.flip = k(2);
  d.bodyg = k(3);
  d.headc = k(3);
  d.wingc = k(3);
  d.tails = k(3);
  d.legc = k(2);
  for (auto& part : d.displacement)
    for (double& v : part) v = r(-.02, .02);
  d.nd = k(4);
  for (Draws::Distractor& dis : d.distractors) {
    dis.kind = k(3);
    dis.col = k(6);
    dis.pat = k(3);
    dis.r = r(2.6, 4.2);
    for (auto& t : dis.tries)
      for (double& v : t) v = u();
  }
  d.keepall = k(2);
  d.ndel = k(5);
  for (double& v : d.perm) v = u();
  d.noise = raw();
  for (double& v : d.f) v = u();
  for (int& v : d.kc) v = k(6);
  d.kg = k(3);
  return d;
}

Sample render(const TaskSpec& spec, std::uint64_t master, std::uint64_t split, std::uint64_t n, int size, int samples, const Interventions& change, bool training_removal) {
  Scene s;
  s.d = draw(master, split, n, size);
  const Draws& d = s.d;
  s.size = size;
  s.headc = d.headc;
  s.wingc = d.wingc;
  s.bgtex = change.background.value_or(d.bgtex);
  s.x0 = 1 + d.ox * (size - 2 - d.a);
  s.y0 = 1 + d.oy * (size - 2 - d.a);
  const bool coded = spec.task == Task::code9 || spec.task == Task::code9c;
  const auto floor_of = [&](double v) { return static_cast<int>(v); };
  for (std::size_t i = 0; i < 4; ++i) s.slots[i] = coded ? code_word(d.cls)[i] : floor_of(3 * d.f[i]);

  int label = 0;
  switch (spec.task) {
    case Task::code9c:
      s.tag = d.f[4] < spec.rho ? d.cls : floor_of(9 * d.f[5]);
      [[fallthrough]];
    case Task::code9: label = d.cls; break;
    case Task::near9:
      for (int c = 0; c < 9; ++c) {
        int agree = 0;
        for (std::size_t i = 0; i < 4; ++i) agree += code_word(c)[i] == s.slots[i];
        if (agree >= 3) label = c;
      }
      break;
    case Task::head3: label = s.slots[head]; break;
    case Task::wing3: label = s.slots[wing]; break;
    case Task::tail3: label = s.slots[tail]; break;
    case Task::legs3: label = s.slots[legs]; break;
    case Task::place6:
      s.place = true;
      s.place_part = floor_of(2 * d.f[4]);
      s.place_color = floor_of(3 * d.f[5]);
      label = 3 * s.place_part + s.place_color;
      break;
    case Task::and2:
      label = floor_of(2 * d.f[4]);
      if (label == 1) {
        s.slots[head] = s.slots[wing] = 1;
      } else {
        // The other eight pairs, row by row; (1,1) is the fifth and left out.
        const int k = floor_of(8 * d.f[5]), pair = k < 4 ? k : k + 1;
        s.slots[head] = pair / 3;
        s.slots[wing] = pair % 3;
      }
      break;
    case Task::xor2:
      s.slots[head] = floor_of(2 * d.f[0]);
      s.slots[wing] = floor_of(2 * d.f[1]);
      label = s.slots[head] ^ s.slots[wing];
      break;
    case Task::eq2:
      label = floor_of(2 * d.f[4]);
      s.wingc = label == 1 ? s.headc : (s.headc + 1 + floor_of(2 * d.f[5])) % 3;
      break;
    case Task::scene6: label = d.bgtex; break;
    case Task::kind3:
    case Task::bam_obj: label = s.kind = static_cast<int>(n % 3); break;
    case Task::bam_scene:
      s.kind = static_cast<int>(n % 3);
      label = d.bgtex;
      break;
    case Task::scene_only:
      s.object = false;
      label = d.bgtex;
      break;
    case Task::bam_graded:
      s.object = d.bgtex < spec.grade;
      label = d.bgtex;
      break;
  }
  for (std::size_t i = 0; i < 4; ++i) {
    s.slots[i] = change.set[i].value_or(s.slots[i]);
    s.removed[i] = change.remove[i];
  }
  if (change.tag && spec.task == Task::code9c) s.tag = *change.tag;
  if (change.no_object) s.object = false;
  if (training_removal && d.keepall == 0) {
    std::array<std::size_t, 4> order = {0, 1, 2, 3};
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return d.perm[a] < d.perm[b]; });
    for (int i = 0; i < d.ndel; ++i) s.removed[order[static_cast<std::size_t>(i)]] = true;
  }
  s.place_distractors();
  std::erase_if(s.placed, [&](const Scene::Placed& p) { return change.remove_distractor[static_cast<std::size_t>(p.number)]; });
  if (s.bgtex == 5) {
    SplitMix64 blobs(d.bgseed);
    for (int i = 0; i < 17 * 17; ++i) s.lattice.push_back(blobs.u());
  }

  Sample out;
  out.size = size;
  out.kind = s.kind;
  out.label = label;
  out.slots = s.slots;
  out.headc = s.headc;
  out.wingc = s.wingc;
  out.tag = s.tag;
  for (std::size_t i = 0; i < 4; ++i) out.visible[i] = s.object && s.kind == 0 && !s.removed[i];
  constexpr double marks[4][2] = {{.80, .27}, {.40, .37}, {.12, .52}, {.48, .82}};
  for (std::size_t i = 0; i < 4; ++i) out.landmarks[i] = {s.image_x(marks[i][0] + d.displacement[i][0]), s.y0 + d.a * (marks[i][1] + d.displacement[i][1])};

  // p*(c | visible): uniform over the classes whose words agree with what is seen.
  out.target.assign(static_cast<std::size_t>(spec.classes()), 0);
  if (training_removal && coded) {
    float total = 0;
    for (int c = 0; c < 9; ++c) {
      bool agrees = true;
      for (std::size_t i = 0; i < 4; ++i) agrees = agrees && (s.removed[i] || code_word(c)[i] == s.slots[i]);
      total += out.target[static_cast<std::size_t>(c)] = agrees ? 1.0f : 0.0f;
    }
    for (float& t : out.target) t /= total;
  } else {
    out.target[static_cast<std::size_t>(label)] = 1;
  }

  const std::size_t pixels = static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
  out.image.resize(3 * pixels);
  out.parts.resize(pixels);
  out.distractor.resize(pixels);
  SplitMix64 noise(d.noise);
  // Parts reach a little over the object's square: displaced, and the tail to the left of it.
  const double margin = .05 * d.a, left = s.x0 - margin, right = s.x0 + d.a + margin, top = s.y0 - margin, bottom = s.y0 + d.a + margin;
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      const std::size_t at = static_cast<std::size_t>(y) * static_cast<std::size_t>(size) + static_cast<std::size_t>(x);
      const bool near_object = s.object && x + 1 >= left && x <= right && y + 1 >= top && y <= bottom;
      double sum[3] = {};
      int votes[part_ids] = {}, distractor_votes[4] = {};
      for (int j = 0; j < samples; ++j)
        for (int i = 0; i < samples; ++i) {
          int id = 0, distractor = 0;
          const Color c = s.at({(x * samples + i + .5) / samples, (y * samples + j + .5) / samples}, near_object, id, distractor);
          sum[0] += c.r;
          sum[1] += c.g;
          sum[2] += c.b;
          ++votes[id];
          ++distractor_votes[distractor];
        }
      int best = 0, best_distractor = 0;
      for (int k = 1; k < part_ids; ++k)
        if (votes[k] >= votes[best]) best = k;
      for (int k = 1; k < 4; ++k)
        if (distractor_votes[k] >= distractor_votes[best_distractor]) best_distractor = k;
      out.parts[at] = static_cast<std::uint8_t>(best);
      out.distractor[at] = best == 6 ? static_cast<std::uint8_t>(best_distractor) : 0;
      for (std::size_t c = 0; c < 3; ++c) {
        const double v = std::clamp(sum[c] / (samples * samples) + (noise.u() - .5) * .06, 0.0, 1.0);
        out.image[c * pixels + at] = static_cast<std::uint8_t>(std::floor(255 * v + .5));
      }
    }
  return out;
}

}  // namespace vitrine::data::partshapes
