// PartShapes: a procedural data set with ground truth that is known exactly.
//
// One generator draws small scenes: a textured grey background, one object made of named parts, up to three
// distractors. Everything that can matter to a classifier is a variable of known value: which parts exist, where they
// are, which attribute values they carry, which of these decide the label. As the picture is a function of the
// variables, any counterfactual picture (a part removed, an attribute changed) is rendered exactly.
//
// An image is a pure function of (task, master seed, split, number, interventions). Its 127 draws are always all made,
// so tasks and interventions stay aligned image by image. The arithmetic is + - * /, floor and comparisons in double:
// with -ffp-contract=off the bytes are the same on every machine.
//
// Units: x to the right and y downwards in pixels, pixel (row i, column j) covers [j,j+1) x [i,i+1). Colours in [0,1].
// Maps are row-major size x size; images are planar, 3 x size x size (R, G, B).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vitrine::data {

/// The generator of all synthetic data [Steele, Lea & Flood 2014].
class SplitMix64 {
 public:
  explicit constexpr SplitMix64(std::uint64_t state) noexcept : state_(state) {}
  constexpr std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// Uniform in [0,1), a multiple of 2^-53.
  constexpr double u() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// One of 0 ... n-1. (The cast is a floor: u is not negative.)
  constexpr int k(int n) noexcept { return static_cast<int>(u() * n); }
  constexpr double r(double a, double b) noexcept { return a + (b - a) * u(); }

 private:
  std::uint64_t state_;
};

/// Where image n's stream starts. Splits: 0 train, 1 validation, 2 test, 3 concept images.
constexpr std::uint64_t seed_of(std::uint64_t master, int split, std::int64_t n) noexcept {
  return SplitMix64(master * 0x9E3779B97F4A7C15u + static_cast<std::uint64_t>(split) * 0xD1B54A32D192ED03u +
                    static_cast<std::uint64_t>(n) * 0x8CB92BA72F3D8DD7u)
      .next();
}

/// Indices into Attributes. The first four are the diagnostic slots, with three values each; the others are nuisances:
/// headc, wingc (yellow, cyan, magenta), tails (bar, wedge, ellipse), legc (dark, light), bodyg (grey .55, .70, .85),
/// flip (1: the object looks to the left).
namespace attribute {
enum Index { head, wing, tail, legs, headc, wingc, tails, legc, bodyg, flip, count };
}
using Attributes = std::array<int, attribute::count>;

/// How many values attribute i has.
constexpr int attribute_values(int i) noexcept { return i == attribute::legc || i == attribute::flip ? 2 : 3; }

/// Ids in Sample::parts.
namespace part_id {
enum Id : std::uint8_t {
  background,
  body,
  head,
  wing,
  tail,
  legs,
  distractor,
  tag,
  wall,
  roof,
  door,
  window,
  chimney,  // house
  deck,
  cabin,
  load,
  wheel1,
  wheel2,  // cart
  count
};
/// Parts of the object, of whichever kind.
constexpr bool of_object(int id) noexcept { return id != background && id != distractor && id != tag; }
}  // namespace part_id

enum class Task : std::uint8_t {
  code9,
  near9,
  head3,
  wing3,
  tail3,
  legs3,
  place6,
  and2,
  xor2,
  eq2,
  scene6,
  kind3,
  code9c,
  bam_obj,
  bam_scene,
  scene_only,
  bam_graded
};
inline constexpr int task_count = 17;

struct TaskSpec {
  Task task = Task::code9;
  double rho = 1;  ///< code9c: probability that the tag tells the class (otherwise it is uniform), in [0,1]
  int grade = 1;   ///< bam_graded: the critter is drawn where bgtex < grade, 1 ... 6
};

/// The task of that name ("code9c", "bam-obj"; '_' and '-' are the same). `argument` is rho for code9c, the grade for
/// bam-graded (empty: the default) and must be empty for the others. Nothing if the name is unknown or the argument
/// wrong.
std::optional<TaskSpec> parse_task(std::string_view name, std::string_view argument = {});
/// The same from one word: "code9", "code9c(0.8)" or "code9c:0.8".
std::optional<TaskSpec> parse_task_word(std::string_view word);
/// The name that parse_task takes, without the argument.
std::string_view task_name(Task) noexcept;
int task_classes(Task) noexcept;
std::string class_name(Task, int k);

/// The class code: class c has slot values code_word(c). This is the ternary tetracode: any two words differ in
/// exactly three slots, so every pair of slots identifies the class and no single slot does.
constexpr std::array<int, 4> code_word(int c) noexcept {
  const int u = c / 3, v = c % 3;
  return {u, (u + v) % 3, (u + 2 * v) % 3, v};
}

/// The only class whose word agrees with the values in three slots at least.
int nearest_word(const std::array<int, 4>& values) noexcept;

/// The 127 draws of an image in their order, decoded.
struct Draws {
  struct Distractor {
    int kind, col, pat;
    double r;                                     ///< pixels at size 64
    std::array<std::array<double, 2>, 12> tries;  ///< (tu,tv) in [0,1)
  };

  int cls, bgtex;
  double bgbase, bgper, bgph;  ///< grey level; pixels; periods
  std::uint64_t bgseed;
  double a, ox, oy;  ///< side of the object frame in pixels; its place, 0 ... 1 of the room there is
  int flip, bodyg, headc, wingc, tails, legc;
  std::array<std::array<double, 2>, 4> displacement;  ///< (du,dv) of head, wing, tail, legs, object frame
  int nd;                                             ///< how many of the distractors are tried
  std::array<Distractor, 3> distractors;
  int keepall, ndel;  ///< removal in training, see render()
  std::array<double, 4> perm;
  std::uint64_t noise;
  std::array<double, 6> f;  ///< what tasks need besides
  std::array<int, 5> kc;    ///< colours of house and cart
  int kg;                   ///< their grey
  int count;                ///< of numbers drawn: 127
};

Draws draw(std::uint64_t master, int split, std::int64_t n, int size = 64);

/// Changes to an image that leave all else pixel-identical, noise included. They never change the label: it
/// stays what the draws say.
struct Interventions {
  /// Bit i: do not draw part i of head, wing, tail, legs. What lies behind appears. Critters only.
  unsigned remove = 0;
  /// Bit d: do not draw distractor d. The others keep their places.
  unsigned remove_distractors = 0;
  /// Another value of an attribute; -1: as drawn. A flip moves the object only, not the distractors.
  Attributes set{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  /// Another side (as a part of the image's) and place of the object frame. Distractors stay.
  std::optional<double> side, ox, oy;
  /// Another texture 0 ... 5 with the same tones, period and phase; -1: as drawn.
  int background = -1;
  /// Another tag 0 ... 8 (of any task), no tag, or as the task has it.
  static constexpr int tag_as_drawn = -2, tag_none = -1;
  int tag = tag_as_drawn;
  /// Background and distractors only; these keep their places.
  bool no_object = false;
  /// Box-average by this factor and enlarge by repetition; divides the size. Maps keep their resolution.
  int scale = 1;
  /// Standard deviation of extra noise, in units of [0,1] colours: sums of twelve uniforms, so that they are exact too.
  double sigma = 0;
};

struct Sample {
  struct Placed {
    int number;      ///< d: 1+d in `distractor`, bit d of Interventions::remove_distractors
    double x, y, r;  ///< centre and radius in pixels
    int kind, col, pat;
  };

  int size = 0;
  std::vector<std::uint8_t> image;       ///< 3 x size x size
  std::vector<std::uint8_t> parts;       ///< part_id of the majority of a pixel's samples, ties to the larger id
  std::vector<std::uint8_t> object;      ///< 1 where `parts` is of the object
  std::vector<std::uint8_t> distractor;  ///< 1+d where `parts` is distractor, else 0
  int label = 0;
  std::vector<float> target;  ///< distribution over the classes: one-hot, or p* after removal in training
  /// What is shown, interventions included; -1 where the variable has no such value (place6: head and tail colours).
  Attributes attr{};
  int bgtex = 0;
  int kind = 0;       ///< 0 critter, 1 house, 2 cart; also where no object is drawn
  int tag = -1;       ///< index shown, -1 none
  bool drawn = true;  ///< is there an object
  /// Head, wing, tail, legs of critters; roof, door, window, chimney; cabin, load, wheel1, wheel2.
  std::array<bool, 4> visible{};
  std::array<std::array<float, 2>, 4> landmarks{};  ///< (x,y) of these, NaN if not drawn
  std::vector<Placed> placed;                       ///< the distractors with a place, those removed included
};

/// Renders an image from samples x samples points per pixel (1, 2, 4 or 8; the specification's goldens use 4). Sizes
/// are multiples of 16 from 32 on. Anything else throws Error.
///
/// training_removal: an augmentation for code9 and code9c. Where keepall = 0 the ndel parts with the smallest
/// perm are removed, and the target becomes p*(. | visible parts). No effect on other tasks.
Sample render(const TaskSpec&, std::uint64_t master, int split, std::int64_t n, int size = 64, int samples = 4,
              const Interventions& = {}, bool training_removal = false);

/// An image of PartShapes-det: one to three objects of any kind, each with a box, no distractors.
struct DetectionSample {
  struct Object {
    int kind = 0;              ///< 0 critter, 1 house, 2 cart
    std::array<int, 4> box{};  ///< of its visible pixels: x1, y1 inclusive, x2, y2 exclusive; all 0 if none is visible
    Attributes attr{};         ///< free values; of critters only the picture tells them
    std::array<std::array<float, 2>, 4> landmarks{};  ///< (x,y), as in Sample
  };
  int size = 0;
  std::vector<std::uint8_t> image;     ///< 3 x size x size
  std::vector<std::uint8_t> parts;     ///< part_id
  std::vector<std::uint8_t> instance;  ///< 1+j where object j is seen, else 0
  std::vector<Object> objects;         ///< in drawing order, later ones on top; those that found no room are left out
};

/// Splits: 40 training, 41 validation, 42 test. The specification's goldens are of size 128 with 2 x 2 points a pixel.
DetectionSample render_detection(std::uint64_t master, int split, std::int64_t n, int size = 128, int samples = 2);

}  // namespace vitrine::data
