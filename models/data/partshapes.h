// PartShapes: a procedural data set with ground truth (specification C12). One generator draws small scenes: a textured
// background, one object made of named parts, a few distractors. Which parts decide the label is known by construction,
// and every counterfactual picture can be rendered exactly.
//
// Everything is a function of (master seed, split, image number): 127 draws of one SplitMix64 stream, always all of them,
// so tasks stay aligned image by image. Arithmetic is +, -, *, / and comparisons in double: bit-exact everywhere.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vitrine::data::partshapes {

/// The generator's random numbers (specification C0.4).
class SplitMix64 {
 public:
  explicit constexpr SplitMix64(std::uint64_t state) noexcept : state_(state) {}
  constexpr std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  constexpr double u() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }
  constexpr int k(int n) noexcept { return static_cast<int>(u() * n); }
  constexpr double r(double a, double b) noexcept { return a + (b - a) * u(); }

 private:
  std::uint64_t state_;
};

std::uint64_t seed_of(std::uint64_t master, std::uint64_t split, std::uint64_t n) noexcept;

enum class Task : std::uint8_t { code9, near9, head3, wing3, tail3, legs3, place6, and2, xor2, eq2, scene6, kind3, code9c, bam_obj, bam_scene, scene_only, bam_graded };

struct TaskSpec {
  Task task = Task::code9;
  double rho = 1;  ///< code9c: how often the tag tells the class
  int grade = 6;   ///< bam_graded: the critter is drawn where the texture's number is below this

  /// "code9", "code9c(0.8)", "bam-graded(3)", ...; nothing if unknown.
  static std::optional<TaskSpec> parse(const std::string&);
  static std::string known();  ///< the names, for messages
  int classes() const noexcept;
  std::string class_name(int k) const;
};

enum Slot { head, wing, tail, legs };
/// Part ids of label maps: 0 background, 1 body, 2..5 head, wing, tail, legs, 6 distractor, 7 tag, 8..12 house (wall, roof,
/// door, window, chimney), 13..17 cart (deck, cabin, load, wheels).
inline constexpr int part_ids = 18;

/// The class words of code9: class c has the values code_word(c)[slot]; any two words differ in exactly three slots.
constexpr std::array<int, 4> code_word(int c) noexcept {
  const int u = c / 3, v = c % 3;
  return {u, (u + v) % 3, (u + 2 * v) % 3, v};
}

/// The draws of one image, in their order (C12.2).
struct Draws {
  int cls, bgtex;
  double bgbase, bgper, bgph;
  std::uint64_t bgseed;
  double a, ox, oy;
  int flip, bodyg, headc, wingc, tails, legc;
  std::array<std::array<double, 2>, 4> displacement;  // of head, wing, tail, legs
  int nd;
  struct Distractor {
    int kind, col, pat;
    double r;
    std::array<std::array<double, 2>, 12> tries;
  };
  std::array<Distractor, 3> distractors;
  int keepall, ndel;
  std::array<double, 4> perm;
  std::uint64_t noise;
  std::array<double, 6> f;
  std::array<int, 5> kc;
  int kg;
  int count;  ///< of numbers drawn: 127
};
Draws draw(std::uint64_t master, std::uint64_t split, std::uint64_t n, int size);

/// Changes that keep all else pixel-identical, noise included (C12.6).
struct Interventions {
  std::array<bool, 4> remove{};               ///< head, wing, tail, legs
  std::array<bool, 3> remove_distractor{};
  std::array<std::optional<int>, 4> set{};    ///< other slot values
  std::optional<int> background;              ///< another texture, same tones and phase
  std::optional<int> tag;                     ///< code9c: -1 none, else this tag
  bool no_object = false;
};

struct Sample {
  int size = 0;
  std::vector<std::uint8_t> image;       ///< 3 x size x size
  std::vector<std::uint8_t> parts;       ///< size x size part ids: the majority of a pixel's samples
  std::vector<std::uint8_t> distractor;  ///< size x size: 0, or 1 + number of the distractor
  int kind = 0;                          ///< 0 critter, 1 house, 2 cart
  int label = 0;
  std::vector<float> target;             ///< distribution over the classes; soft where parts are removed in training
  std::array<int, 4> slots{};            ///< values of head shape, wing pattern, tail colour, leg number
  int headc = 0, wingc = 0, tag = -1;
  std::array<bool, 4> visible{};
  std::array<std::array<double, 2>, 4> landmarks{};  ///< x, y in pixels of head, wing, tail, legs (critters)
};

/// Renders image n. `samples`: per pixel and axis; 4 is exact, 2 is faster. `training_removal`: the augmentation of C12.2
/// for code9, which takes parts away and softens the target accordingly.
Sample render(const TaskSpec&, std::uint64_t master, std::uint64_t split, std::uint64_t n, int size = 64, int samples = 4,
              const Interventions& = {}, bool training_removal = false);

}  // namespace vitrine::data::partshapes
