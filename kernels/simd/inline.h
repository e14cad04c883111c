// How the kernels ask for inlining: what is compiled for one instruction set must leave no function behind that the
// linker might keep for the whole program.
#pragma once

#define VITRINE_INLINE inline __attribute__((always_inline))
