#include "models/data/partshapes.h"

#include "core/host/error.h"

#include <algorithm>
#include <limits>

#include "models/data/partshapes_scene.h"
#include "models/data/partshapes_truth.h"

namespace vitrine::data {
namespace {

using scene::Figure;
using scene::Fill;
using scene::Frame;
using scene::Point;
using scene::Rgb;

constexpr int critter = 0, house = 1;  // 2: cart

// What a task makes of the draws before any intervention.
struct Plan {
  int label = 0, kind = critter, tag = -1;
  bool drawn = true;
  Attributes attr{};
  std::optional<Rgb> head_rgb, tail_rgb;  // place6
};

Plan plan(const TaskSpec& spec, const Draws& d, std::int64_t n) {
  Plan p;
  p.attr = {0, 0, 0, 0, d.headc, d.wingc, d.tails, d.legc, d.bodyg, d.flip};
  const auto of = [&](int i, int count) {  // floor(count f_i), f counted from 1 as in the specification
    return static_cast<int>(count * d.f[static_cast<std::size_t>(i - 1)]);
  };
  const auto set_slots = [&](const std::array<int, 4>& values) { std::ranges::copy(values, p.attr.begin()); };
  const std::array<int, 4> free = {of(1, 3), of(2, 3), of(3, 3), of(4, 3)};
  set_slots(free);

  switch (spec.task) {
    case Task::code9c:
      p.tag = d.f[4] < spec.rho ? d.cls : of(6, 9);
      [[fallthrough]];
    case Task::code9:
      set_slots(code_word(d.cls));
      p.label = d.cls;
      break;
    case Task::near9:
      p.label = nearest_word(free);
      break;
    case Task::head3:
      p.label = free[0];
      break;
    case Task::wing3:
      p.label = free[1];
      break;
    case Task::tail3:
      p.label = free[2];
      break;
    case Task::legs3:
      p.label = free[3];
      break;
    case Task::place6: {
      // The same three colours in either place, so that neither place nor colour alone tells the label.
      const int where = of(5, 2), c = of(6, 3);
      p.label = 3 * where + c;
      p.head_rgb = where == 0 ? scene::colour(c) : scene::grey(.5);
      p.tail_rgb = where == 1 ? scene::colour(c) : scene::grey(.5);
      p.attr[attribute::headc] = -1;
      p.attr[attribute::tail] = where == 1 ? c : -1;
      break;
    }
    case Task::and2: {
      p.label = of(5, 2);
      int pair = 4;  // square and striped; the other eight (head, wing) pairs are counted without it
      if (p.label == 0) pair = of(6, 8), pair += pair >= 4;
      p.attr[attribute::head] = pair / 3;
      p.attr[attribute::wing] = pair % 3;
      break;
    }
    case Task::xor2:
      p.attr[attribute::head] = of(1, 2);
      p.attr[attribute::wing] = of(2, 2);
      p.label = p.attr[attribute::head] ^ p.attr[attribute::wing];
      break;
    case Task::eq2:
      p.label = of(5, 2);
      p.attr[attribute::wingc] = p.label == 1 ? d.headc : (d.headc + 1 + of(6, 2)) % 3;
      break;
    case Task::scene6:
      p.label = d.bgtex;
      break;
    case Task::kind3:
    case Task::bam_obj:
      p.label = p.kind = static_cast<int>(n % 3);
      break;
    case Task::bam_scene:
      p.label = d.bgtex;
      p.kind = static_cast<int>(n % 3);
      break;
    case Task::scene_only:
      p.label = d.bgtex;
      p.drawn = false;
      break;
    case Task::bam_graded:
      p.label = d.bgtex;
      p.drawn = d.bgtex < spec.grade;
      break;
  }
  if (p.kind != critter) std::fill(p.attr.begin(), p.attr.begin() + attribute::flip, -1);
  return p;
}

Frame object_frame(double a, double ox, double oy, bool flip, int size) {
  return {1 + ox * (size - 2 - a), 1 + oy * (size - 2 - a), a, flip};
}

// Where the distractors go. This depends on the draws and the kind alone, so that no intervention moves one.
std::vector<Sample::Placed> place_distractors(const Draws& d, int kind, int size) {
  struct Box {
    double u0, v0, u1, v1;
  };
  constexpr Box around_critter[] = {
      {.21, .33, .75, .71}, {.58, .05, 1, .46}, {.18, .19, .62, .55}, {-.02, .38, .26, .66}, {.24, .66, .72, 1}};
  constexpr Box around_other[] = {{0, 0, 1, 1}};
  const Frame frame = object_frame(d.a, d.ox, d.oy, d.flip != 0, size);
  std::vector<Box> forbidden;
  const auto forbid = [&](const Box& b) {
    const Point p = frame.to_pixels({b.u0, b.v0}), q = frame.to_pixels({b.u1, b.v1});
    forbidden.push_back({std::min(p.x, q.x) - 1.5, p.y - 1.5, std::max(p.x, q.x) + 1.5, q.y + 1.5});
  };
  if (kind == critter)
    std::ranges::for_each(around_critter, forbid);
  else
    std::ranges::for_each(around_other, forbid);

  std::vector<Sample::Placed> placed;
  for (int i = 0; i < d.nd; ++i) {
    const Draws::Distractor& one = d.distractors[static_cast<std::size_t>(i)];
    const double r = one.r * size / 64, reach = 1.6 * r;
    for (const auto& [tu, tv] : one.tries) {
      const double x = reach + tu * (size - 2 * reach), y = reach + tv * (size - 2 * reach);
      const bool meets_box = std::ranges::any_of(forbidden, [&](const Box& b) {
        return x + reach > b.u0 && x - reach < b.u1 && y + reach > b.v0 && y - reach < b.v1;
      });
      const bool meets_disc = std::ranges::any_of(placed, [&](const Sample::Placed& o) {
        const double dx = x - o.x, dy = y - o.y, sum = reach + 1.6 * o.r;
        return dx * dx + dy * dy <= sum * sum;
      });
      if (meets_box || meets_disc) continue;
      placed.push_back({i, x, y, r, one.kind, one.col, one.pat});
      break;
    }
  }
  return placed;
}

void paint_tag(scene::Canvas& canvas, int tag, int size) {
  const double s = size / 64., middle = size - 4.5 * s;
  canvas.rectangle(s, size - 8 * s, 8 * s, middle, scene::colour(tag / 3), part_id::tag);
  canvas.rectangle(s, middle, 8 * s, size - s, scene::colour(tag % 3), part_id::tag);
}

struct Landmark {
  double u, v;
};
constexpr Landmark landmarks[3][4] = {{{.80, .27}, {.40, .37}, {.12, .52}, {.48, .82}},
                                      {{.5, .30}, {.67, .80}, {.345, .655}, {.725, .15}},
                                      {{.76, .305}, {.30, .31}, {.24, .81}, {.76, .81}}};

void paint_critter(scene::Canvas& canvas, const Frame& frame, const Draws& d, const Plan& p,
                   const std::array<bool, 4>& visible, std::uint8_t owner = 0) {
  using namespace attribute;
  const auto moved = [&](std::size_t part) {
    Frame f = frame;
    f.displacement = {d.displacement[part][0], d.displacement[part][1]};
    return f;
  };
  if (visible[tail]) {
    const Figure figures[3] = {Figure::box({.12, .52}, {.115, .075}), Figure::triangle({.25, .52}, {0, .40}, {0, .64}),
                               Figure::ellipse({.12, .52}, {.125, .09})};
    const Rgb rgb = p.tail_rgb ? *p.tail_rgb : scene::colour(p.attr[tail]);
    canvas.paint(moved(tail), figures[p.attr[tails]], {rgb}, part_id::tail, owner);
  }
  if (visible[legs]) {
    static constexpr double centres[3][3] = {{.48}, {.36, .60}, {.30, .48, .66}};
    static constexpr double half_widths[3] = {.078, .039, .026};
    const int value = p.attr[legs];
    const double middle = (.66 + .975) / 2, half = (.975 - .66) / 2;
    for (int i = 0; i <= value; ++i)
      canvas.paint(moved(legs), Figure::box({centres[value][i], middle}, {half_widths[value], half}),
                   {scene::grey(p.attr[legc] == 0 ? .05 : .97)}, part_id::legs, owner);
  }
  canvas.paint(frame, Figure::ellipse({.48, .52}, {.27, .19}), {scene::object_grey(p.attr[bodyg])}, part_id::body,
               owner);
  if (visible[wing])
    canvas.paint(moved(wing), Figure::ellipse({.40, .37}, {.20, .15}),
                 {scene::colour(3 + p.attr[wingc]), p.attr[wing], frame.a, .115 * frame.a}, part_id::wing, owner);
  if (visible[head])
    canvas.paint(moved(head), Figure::equal_area({.80, .27}, .15, p.attr[head]),
                 {p.head_rgb ? *p.head_rgb : scene::colour(3 + p.attr[headc])}, part_id::head, owner);
}

Figure box_between(double u0, double v0, double u1, double v1) {
  return Figure::box({(u0 + u1) / 2, (v0 + v1) / 2}, {(u1 - u0) / 2, (v1 - v0) / 2});
}

void paint_house(scene::Canvas& canvas, const Frame& f, const Draws& d, std::uint8_t owner = 0) {
  canvas.paint(f, box_between(.66, .05, .79, .34), {scene::colour(d.kc[0])}, part_id::chimney, owner);
  canvas.paint(f, box_between(.14, .42, .86, .98), {scene::object_grey(d.kg)}, part_id::wall, owner);
  canvas.paint(f, Figure::triangle({.50, .03}, {0, .44}, {1, .44}), {scene::colour(d.kc[2])}, part_id::roof, owner);
  canvas.paint(f, box_between(.58, .62, .76, .98), {scene::colour(d.kc[3])}, part_id::door, owner);
  canvas.paint(f, box_between(.23, .54, .46, .77), {scene::colour(d.kc[4])}, part_id::window, owner);
}

void paint_cart(scene::Canvas& canvas, const Frame& f, const Draws& d, std::uint8_t owner = 0) {
  canvas.paint(f, box_between(.03, .46, .97, .74), {scene::object_grey(d.kg)}, part_id::deck, owner);
  canvas.paint(f, box_between(.60, .14, .92, .47), {scene::colour(d.kc[1])}, part_id::cabin, owner);
  canvas.paint(f, Figure::ellipse({.30, .31}, {.16, .16}), {scene::colour(d.kc[2])}, part_id::load, owner);
  canvas.paint(f, Figure::ellipse({.24, .81}, {.155, .155}), {scene::colour(d.kc[3])}, part_id::wheel1, owner);
  canvas.paint(f, Figure::ellipse({.76, .81}, {.155, .155}), {scene::colour(d.kc[4])}, part_id::wheel2, owner);
}

// Adds noise, reduces the resolution, rounds. `rgb` is planar; the noise runs through pixels, then channels.
std::vector<std::uint8_t> finish(std::vector<double>& rgb, std::uint64_t noise, double sigma, int scale, int size) {
  const std::size_t side = static_cast<std::size_t>(size), plane = side * side;
  SplitMix64 random(noise);
  for (std::size_t at = 0; at < plane; ++at)
    for (std::size_t c = 0; c < 3; ++c) rgb[c * plane + at] += (random.u() - .5) * .06;
  if (sigma > 0)  // the ordinary noise's stream goes on
    for (std::size_t at = 0; at < plane; ++at)
      for (std::size_t c = 0; c < 3; ++c) {
        double sum = -6;
        for (int i = 0; i < 12; ++i) sum += random.u();
        rgb[c * plane + at] += sigma * sum;
      }
  for (double& v : rgb) v = std::clamp(v, 0., 1.);
  const std::size_t s = static_cast<std::size_t>(scale);
  if (s > 1)
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t i = 0; i < side; i += s)
        for (std::size_t j = 0; j < side; j += s) {
          double* const block = &rgb[c * plane + i * side + j];
          double sum = 0;
          for (std::size_t y = 0; y < s; ++y)
            for (std::size_t x = 0; x < s; ++x) sum += block[y * side + x];
          for (std::size_t y = 0; y < s; ++y) std::fill_n(block + y * side, s, sum / static_cast<double>(s * s));
        }
  std::vector<std::uint8_t> bytes(rgb.size());
  for (std::size_t k = 0; k < rgb.size(); ++k) bytes[k] = static_cast<std::uint8_t>(255 * rgb[k] + .5);
  return bytes;
}

void check(const TaskSpec& task, int size, int samples, const Interventions& change) {
  const auto demand = [](bool condition, const char* what) {
    if (!condition) throw Error(std::string("partshapes: ") + what);
  };
  demand(size >= 32 && size <= 1024 && size % 16 == 0, "the size must be a multiple of 16 from 32 to 1024");
  demand(samples == 1 || samples == 2 || samples == 4 || samples == 8, "samples must be 1, 2, 4 or 8");
  demand(task.rho >= 0 && task.rho <= 1, "rho must be in [0,1]");
  demand(task.grade >= 1 && task.grade <= 6, "the grade must be from 1 to 6");
  demand(change.remove < 16 && change.remove_distractors < 8, "removal of a part that does not exist");
  for (int i = 0; i < attribute::count; ++i)
    demand(
        change.set[static_cast<std::size_t>(i)] >= -1 && change.set[static_cast<std::size_t>(i)] < attribute_values(i),
        "no such value of an attribute");
  demand(change.background >= -1 && change.background < 6, "no such background");
  demand(change.tag >= Interventions::tag_as_drawn && change.tag < 9, "no such tag");
  demand(change.scale >= 1 && size % change.scale == 0, "the scale must divide the size");
  demand(change.sigma >= 0, "sigma must not be negative");
  const auto in_unit = [](const std::optional<double>& v) { return !v || (*v >= 0 && *v <= 1); };
  demand(in_unit(change.ox) && in_unit(change.oy), "places must be in [0,1]");
  demand(!change.side || (*change.side > 0 && *change.side * size <= size - 2), "the object must fit into the image");
}

// Changes the plan as asked. An explicit colour overrides a task's own.
void apply(const Interventions& change, Plan& p) {
  for (std::size_t i = 0; i < p.attr.size(); ++i) {
    if (change.set[i] < 0 || (p.kind != critter && i != attribute::flip)) continue;
    p.attr[i] = change.set[i];
    if (i == attribute::headc) p.head_rgb.reset();
    if (i == attribute::tail) p.tail_rgb.reset();
  }
  if (change.tag != Interventions::tag_as_drawn) p.tag = change.tag;
  if (change.no_object) p.drawn = false;
}

// The ndel parts with the smallest perm, as bits.
unsigned removed_in_training(const Draws& d) {
  if (d.keepall != 0) return 0;
  std::array<std::size_t, 4> order = {0, 1, 2, 3};
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return d.perm[i]; });
  unsigned removed = 0;
  for (int i = 0; i < d.ndel; ++i) removed |= 1u << order[static_cast<std::size_t>(i)];
  return removed;
}

}  // namespace

Draws draw(std::uint64_t master, int split, std::int64_t n, int size) {
  Draws d;
  SplitMix64 stream(seed_of(master, split, n));
  d.count = 0;
  const auto raw = [&] { return ++d.count, stream.next(); };
  const auto u = [&] { return ++d.count, stream.u(); };
  const auto k = [&](int m) { return ++d.count, stream.k(m); };
  const auto r = [&](double a, double b) { return ++d.count, stream.r(a, b); };

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
  for (Draws::Distractor& one : d.distractors) {
    one.kind = k(3);
    one.col = k(6);
    one.pat = k(3);
    one.r = r(2.6, 4.2);
    for (auto& place : one.tries)
      for (double& v : place) v = u();
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

Sample render(const TaskSpec& spec, std::uint64_t master, int split, std::int64_t n, int size, int samples,
              const Interventions& change, bool training_removal) {
  check(spec, size, samples, change);
  const Draws d = draw(master, split, n, size);
  Plan p = plan(spec, d, n);
  apply(change, p);
  const bool coded = spec.task == Task::code9 || spec.task == Task::code9c;
  const unsigned removed = change.remove | (training_removal && coded ? removed_in_training(d) : 0u);

  Sample s;
  s.size = size;
  s.label = p.label;
  s.attr = p.attr;
  s.bgtex = change.background >= 0 ? change.background : d.bgtex;
  s.kind = p.kind;
  s.tag = p.tag;
  s.drawn = p.drawn;
  for (std::size_t i = 0; i < 4; ++i) s.visible[i] = p.drawn && (p.kind != critter || (removed >> i & 1) == 0);
  s.placed = place_distractors(d, p.kind, size);
  s.target.assign(static_cast<std::size_t>(task_classes(spec.task)), 0);
  s.target[static_cast<std::size_t>(p.label)] = 1;
  // p* speaks of the drawn word: a value set by intervention is no evidence for another class.
  if (training_removal && coded)
    std::ranges::copy(ideal_posterior(code_word(p.label), ~removed & 15u), s.target.begin());

  scene::Canvas canvas(size, samples);
  canvas.background({s.bgtex, d.bgbase, d.bgper, d.bgph, d.bgseed});
  for (const Sample::Placed& o : s.placed) {
    if (change.remove_distractors >> o.number & 1) continue;
    canvas.paint(Frame{}, Figure::equal_area({o.x, o.y}, o.r, o.kind),
                 {scene::colour(o.col), o.pat, 1, .9 * o.r, {o.x, o.y}}, part_id::distractor,
                 static_cast<std::uint8_t>(1 + o.number));
  }
  if (p.tag >= 0) paint_tag(canvas, p.tag, size);
  const Frame frame = object_frame(change.side ? *change.side * size : d.a, change.ox.value_or(d.ox),
                                   change.oy.value_or(d.oy), p.attr[attribute::flip] != 0, size);
  if (p.drawn) {
    if (p.kind == critter)
      paint_critter(canvas, frame, d, p, s.visible);
    else if (p.kind == house)
      paint_house(canvas, frame, d);
    else
      paint_cart(canvas, frame, d);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    s.landmarks[i].fill(std::numeric_limits<float>::quiet_NaN());
    if (!s.visible[i]) continue;
    Frame f = frame;
    if (p.kind == critter) f.displacement = {d.displacement[i][0], d.displacement[i][1]};
    const Landmark& mark = landmarks[p.kind][i];
    const Point at = f.to_pixels({mark.u, mark.v});
    s.landmarks[i] = {static_cast<float>(at.x), static_cast<float>(at.y)};
  }

  std::vector<double> rgb;
  canvas.resolve(rgb, s.parts, s.distractor);
  s.object.resize(s.parts.size());
  std::ranges::transform(s.parts, s.object.begin(), part_id::of_object);
  s.image = finish(rgb, d.noise, change.sigma, change.scale, size);
  return s;
}

namespace {

struct Square {
  double x, y, a;
};

// The first of 20 places for a square of side a that hardly overlaps those placed. All 20 are drawn, so that the stream
// does not depend on which one is taken.
std::optional<Square> find_place(SplitMix64& stream, double a, int size, const std::vector<Square>& placed) {
  std::optional<Square> place;
  for (int t = 0; t < 20; ++t) {
    const double tu = stream.u(), tv = stream.u();
    const Square q{1 + tu * (size - 2 - a), 1 + tv * (size - 2 - a), a};
    const bool free = std::ranges::all_of(placed, [&](const Square& o) {
      const double w = std::min(q.x + q.a, o.x + o.a) - std::max(q.x, o.x),
                   h = std::min(q.y + q.a, o.y + o.a) - std::max(q.y, o.y);
      const double smaller = std::min(q.a, o.a);
      return w <= 0 || h <= 0 || w * h <= .05 * smaller * smaller;
    });
    if (free && !place) place = q;
  }
  return place;
}

// Paints one object and notes its kind, attributes and landmarks.
DetectionSample::Object paint_object(scene::Canvas& canvas, const Square& place, int kind, const Draws& d,
                                     std::int64_t n, std::uint8_t owner) {
  Plan p = plan({Task::near9}, d, n);  // free values
  p.kind = kind;
  const Frame frame{place.x, place.y, place.a, p.attr[attribute::flip] != 0};
  if (kind == critter)
    paint_critter(canvas, frame, d, p, {true, true, true, true}, owner);
  else if (kind == house)
    paint_house(canvas, frame, d, owner);
  else
    paint_cart(canvas, frame, d, owner);
  DetectionSample::Object o;
  o.kind = kind;
  o.attr = p.attr;
  for (std::size_t i = 0; i < 4; ++i) {
    Frame f = frame;
    if (kind == critter) f.displacement = {d.displacement[i][0], d.displacement[i][1]};
    const Point at = f.to_pixels({landmarks[kind][i].u, landmarks[kind][i].v});
    o.landmarks[i] = {static_cast<float>(at.x), static_cast<float>(at.y)};
  }
  return o;
}

// The boxes are those of the pixels that show each object.
void find_boxes(DetectionSample& s) {
  for (std::size_t at = 0; at < s.parts.size(); ++at) {
    if (s.instance[at] == 0) continue;
    DetectionSample::Object& o = s.objects[s.instance[at] - 1u];
    const int x = static_cast<int>(at) % s.size, y = static_cast<int>(at) / s.size;
    o.box = o.box[2] == 0 ? std::array{x, y, x + 1, y + 1}
                          : std::array{std::min(o.box[0], x), std::min(o.box[1], y), std::max(o.box[2], x + 1),
                                       std::max(o.box[3], y + 1)};
  }
}

}  // namespace

DetectionSample render_detection(std::uint64_t master, int split, std::int64_t n, int size, int samples) {
  check({}, size, samples, {});
  const Draws ground = draw(master, split, n, size);
  SplitMix64 stream(seed_of(master, split + 1000, n));
  scene::Canvas canvas(size, samples);
  canvas.background({ground.bgtex, ground.bgbase, ground.bgper, ground.bgph, ground.bgseed});
  DetectionSample s;
  s.size = size;
  std::vector<Square> placed;
  const int count = 1 + stream.k(3);
  for (int j = 0; j < count; ++j) {
    const int kind = stream.k(3);
    const double a = stream.r(36, 72) * size / 128;
    const std::optional<Square> place = find_place(stream, a, size, placed);
    if (!place) continue;
    placed.push_back(*place);
    const Draws d = draw(master, split + 2000 + j, n, size);
    s.objects.push_back(paint_object(canvas, *place, kind, d, n, static_cast<std::uint8_t>(1 + s.objects.size())));
  }
  std::vector<double> rgb;
  canvas.resolve(rgb, s.parts, s.instance);
  find_boxes(s);
  s.image = finish(rgb, ground.noise, 0, 1, size);
  return s;
}

}  // namespace vitrine::data
