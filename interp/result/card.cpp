#include "interp/result/card.h"

namespace vitrine {

const char* name(Aspect a) noexcept {
  constexpr const char* names[] = {"data_rules", "internal_space", "explain_prediction", "model_interpretation"};
  return names[static_cast<int>(a)];
}
const char* name(Stage s) noexcept {
  constexpr const char* names[] = {"pre", "in", "post"};
  return names[static_cast<int>(s)];
}
const char* name(Of o) noexcept {
  constexpr const char* names[] = {"processing", "representation", "producing"};
  return names[static_cast<int>(o)];
}
const char* name(Scope s) noexcept { return s == Scope::local ? "local" : "global"; }
const char* name(Labels l) noexcept {
  constexpr const char* names[] = {"none", "class", "part", "concept", "text"};
  return names[static_cast<int>(l)];
}

}  // namespace vitrine
