// Holds every slot of the kernel table, at every instruction set that this machine has, against the reference in
// double. Error bounds follow from the arithmetic: a unit roundoff an operation, the number of terms for sums.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "selfcheck.h"

#include <cstdlib>

namespace vitrine::kernels::selfcheck {

TEST_CASE("kernels agree with the double reference") {
  Levels levels;
  for (Isa isa : {Isa::reference, Isa::avx2, Isa::avx512}) {
    if (isa <= detected()) levels.push_back({name(isa), &table(isa)});
  }
#define VITRINE_CHECK_SLOT(slot, ...)                                              \
  SUBCASE(#slot) {                                                                 \
    for (const Level& level : levels) {                                            \
      CAPTURE(level.name);                                                         \
      static const Table<real> empty;                                              \
      CHECK(std::memcmp(&level.table->slot, &empty.slot, sizeof empty.slot) != 0); \
    }                                                                              \
    check_##slot(levels);                                                          \
  }
  VITRINE_KERNEL_SLOTS(VITRINE_CHECK_SLOT)
#undef VITRINE_CHECK_SLOT
  SUBCASE("normals") { check_normals(levels); }
}

TEST_CASE("instruction sets are named and capped") {
  CHECK(std::string(name(Isa::reference)) == "ref");
  CHECK(std::string(name(Isa::avx2)) == "avx2");
  CHECK(std::string(name(Isa::avx512)) == "avx512");
  CHECK(active() <= detected());
  const char* old = std::getenv("VITRINE_ISA");
  const std::string kept = old ? old : "";
  setenv("VITRINE_ISA", "ref", 1);
  CHECK(active() == Isa::reference);
  setenv("VITRINE_ISA", "none of these", 1);
  CHECK(active() == detected());
  if (old) {
    setenv("VITRINE_ISA", kept.c_str(), 1);
  } else {
    unsetenv("VITRINE_ISA");
  }
  CHECK(&table(Isa::reference) == &reference<real>());
  CHECK(&table(Isa::avx512) == &table(detected()));
}

}  // namespace vitrine::kernels::selfcheck
