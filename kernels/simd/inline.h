// Forced inlining for the kernels: code compiled for one instruction set must not leave a function that the linker
// might keep for the whole program.
#pragma once

#define VITRINE_INLINE inline __attribute__((always_inline))
