#include "cuda_emulator_kernels.h"

#include "kernels/cuda/reduce.h"

namespace vitrine::kernels::cuda {

// Each kernel is right but for what its name says.

__global__ void divergent_barrier_kernel(float* data) {
  if (threadIdx.x < 32)
    sync_threads();
  else
    sync_threads();
  data[threadIdx.x] = 1;
}

__global__ void early_return_kernel(float* data) {
  if (threadIdx.x >= 32) return;
  sync_threads();
  data[threadIdx.x] = 1;
}

__global__ void barrier_against_shuffle_kernel(float* data) {
  if (threadIdx.x % 2 == 0) sync_threads();
  data[threadIdx.x] = shuffle_xor(1.0f, 1);
}

__global__ void left_lane_kernel(float* data) {
  if (threadIdx.x == 7) return;
  data[threadIdx.x] = shuffle_xor(1.0f, 1);
}

__global__ void foreign_lane_kernel(float* data) {
  if (threadIdx.x < 16) data[threadIdx.x] = shuffle(1.0f, 20, 0xffffu);
}

__global__ void not_in_mask_kernel(float* data) { data[threadIdx.x] = shuffle_xor(1.0f, 1, 0xffffu); }

__global__ void different_collectives_kernel(float* data) {
  if (threadIdx.x % 2)
    data[threadIdx.x] = shuffle_xor(1.0f, 1);
  else
    data[threadIdx.x] = static_cast<float>(ballot(true));
}

__global__ void no_wait_kernel(float* data) {
  VITRINE_SHARED(tile, float[64]);
  copy_async(&tile[threadIdx.x], data + threadIdx.x);
  commit_copies();
}

/// Waits for the first of two groups and reads the second one.
__global__ void weak_wait_kernel(float* data) {
  VITRINE_SHARED(tile, float[2][64]);
  copy_async(&tile[0][threadIdx.x], data + threadIdx.x);
  commit_copies();
  copy_async(&tile[1][threadIdx.x], data + threadIdx.x);
  commit_copies();
  wait_copies<1>();
  const float early = tile[1][threadIdx.x];
  wait_copies<0>();
  if (early == early) data[threadIdx.x] = -1;  // the data was there: the emulator let it through
}

__global__ void misaligned_kernel(float* data) { store4(data, load4(data + 1)); }

__global__ void large_shared_kernel(float* data) {
  VITRINE_SHARED(tile, float[12300]);
  data[threadIdx.x] = tile[0] = 1;
}

__global__ void missing_dynamic_kernel(float* data) { dynamic_shared<float>()[threadIdx.x] = data[threadIdx.x]; }

__global__ void shared_overrun_kernel(float* data) {
  VITRINE_SHARED(tile, float[64]);
  tile[threadIdx.x + (threadIdx.x == 63 ? 1 : 0)] = data[threadIdx.x];
}

__global__ void misaligned_matrix_kernel(float* data) {
  VITRINE_SHARED(tile, float[64 * 4 + 4]);
  for (int i = static_cast<int>(threadIdx.x); i < 260; i += 32) tile[i] = 1;
  sync_warp();
  std::uint32_t r[4];
  load_matrices(r, &tile[threadIdx.x * 4 + 1]);
  data[threadIdx.x] = static_cast<float>(r[0] + r[1] + r[2] + r[3]);
}

__global__ void global_overrun_kernel(float* data, int n) { data[n] = 1; }
__global__ void global_overread_kernel(float* data, int n) {
  if (data[n] == 3) data[0] = 1;
}

__global__ void host_pointer_kernel(float* data, const float* host) { data[threadIdx.x] = *host; }

__global__ void missing_barrier_kernel(float* data) {
  VITRINE_SHARED(tile, float[64]);
  tile[threadIdx.x] = 0;
  sync_threads();
  tile[threadIdx.x] = data[threadIdx.x];
  data[threadIdx.x] = tile[63 - threadIdx.x] == 0 ? 1 : 0;
}

__global__ void missing_warp_barrier_kernel(float* data) {
  VITRINE_SHARED(tile, float[32]);
  tile[threadIdx.x] = 0;
  sync_warp();
  tile[threadIdx.x] = data[threadIdx.x];
  shuffle_xor(0, 1);  // does not order memory
  data[threadIdx.x] = tile[31 - threadIdx.x];
}

__global__ void warp_barrier_kernel(float* data) {
  VITRINE_SHARED(tile, float[32]);
  tile[threadIdx.x] = data[threadIdx.x];
  sync_warp();
  data[threadIdx.x] = tile[31 - threadIdx.x];
}

__global__ void uninitialised_shared_kernel(float* data) {
  VITRINE_SHARED(tile, float[64]);
  if (threadIdx.x < 63) tile[threadIdx.x] = 1;
  sync_threads();
  if (tile[threadIdx.x] == 3) data[threadIdx.x] = 1;
}

__global__ void blocks_race_kernel(float* data) { data[threadIdx.x] = static_cast<float>(blockIdx.x); }

__global__ void plain_against_atomic_kernel(float* data) {
  if (threadIdx.x == 0)
    data[0] = 1;
  else
    atomic_add(data, 1.0f);
}

__global__ void plain_sum_kernel(float* data) { data[0] += 1; }

namespace {

template <auto Kernel, int Blocks = 1, int Threads = 64>
void plainly(float* data, int) {
  launch(Kernel, Blocks, Threads, 0, data);
}
template <auto Kernel>
void with_count(float* data, int n) {
  launch(Kernel, 1, 32, 0, data, n);
}

}  // namespace

const Planted planted[] = {
    {"barriers at two places", plainly<divergent_barrier_kernel>, "a barrier in divergent code",
     "a barrier in divergent code"},
    {"a return before the barrier", plainly<early_return_kernel>, "a barrier that not all threads of the block reach",
     "a barrier that not all threads"},
    {"a barrier against a shuffle", plainly<barrier_against_shuffle_kernel, 1, 32>, "deadlock in a warp collective",
     "deadlock"},
    {"a shuffle with a lane that has left", plainly<left_lane_kernel, 1, 32>, "", ""},
    {"a shuffle from outside of the mask", plainly<foreign_lane_kernel, 1, 32>,
     "a shuffle reads a lane that takes no part", "a shuffle reads a lane"},
    {"a lane that is not in its own mask", plainly<not_in_mask_kernel, 1, 32>, "a lane is not in the mask",
     "a lane is not in the mask"},
    {"different collectives", plainly<different_collectives_kernel, 1, 32>,
     "lanes of a warp meet in different collectives", "lanes of a warp meet"},
    {"copies that nobody waits for", plainly<no_wait_kernel>, "without waiting for its asynchronous copies",
     "without waiting"},
    {"a wait for one group too few", plainly<weak_wait_kernel>, "", "read of shared memory that was never written"},
    {"a misaligned vector", plainly<misaligned_kernel, 1, 32>, "a vector access is not aligned",
     "a vector access is not aligned"},
    {"too much static shared memory", plainly<large_shared_kernel>, "static shared memory exceeds 48 KiB",
     "static shared memory"},
    {"no dynamic shared memory", plainly<missing_dynamic_kernel>, "asked for no dynamic shared memory",
     "asked for no dynamic"},
    {"a write behind a shared array", plainly<shared_overrun_kernel>, "shared memory around an array was overwritten",
     "write outside of the arrays in shared memory"},
    {"a misaligned matrix", plainly<misaligned_matrix_kernel, 1, 32>, "a row of load_matrices is not aligned",
     "a row of load_matrices is not aligned"},
    {"a block of 1056 threads", plainly<plain_sum_kernel, 1, 1056>, "more than 1024", "more than 1024"},
    {"a warp that is not full", plainly<plain_sum_kernel, 1, 40>, "a warp that is not full", "a warp that is not full"},
    {"no block", plainly<plain_sum_kernel, 0, 32>, "no block", "no block"},
    {"too much dynamic shared memory",
     [](float* data, int) { launch(missing_dynamic_kernel, 1, 32, 300 * 1024, data); }, "more than 227 KiB",
     "more than 227 KiB"},
    {"a write behind an allocation", with_count<global_overrun_kernel>, "memory around an allocation was overwritten",
     "write outside of the allocations"},
    {"a read behind an allocation", with_count<global_overread_kernel>, "", "read outside of the allocations"},
    {"a pointer to host memory",
     [](float* data, int) {
       static const float host = 1;
       launch(host_pointer_kernel, 1, 32, 0, data, &host);
     },
     "", "read through a pointer to host memory"},
    {"a missing barrier", plainly<missing_barrier_kernel>, "", "a race: "},
    {"a shuffle for a sync_warp", plainly<missing_warp_barrier_kernel, 1, 32>, "", "a race: "},
    {"no fault: sync_warp", plainly<warp_barrier_kernel, 1, 32>, "", ""},
    {"shared memory that was never written", plainly<uninitialised_shared_kernel>, "",
     "read of shared memory that was never written"},
    {"blocks that write one place", plainly<blocks_race_kernel, 2, 64>, "", "a race: write"},
    {"an atomic operation against a plain one", plainly<plain_against_atomic_kernel, 1, 32>, "", "a race: "},
    {"a sum without atomic operations", plainly<plain_sum_kernel, 1, 32>, "", "a race: "},
};
const std::size_t planted_count = sizeof planted / sizeof *planted;

__global__ void sums_kernel(const float* x, float* out, int* total) {
  const float sum = block_reduce<256>(x[blockIdx.x * 256 + threadIdx.x], Sum());
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
  atomic_add(total, 1);
}

void launch_sums(const float* x, int blocks, float* out, int* total) {
  launch(sums_kernel, static_cast<unsigned>(blocks), 256, 0, x, out, total);
}

}  // namespace vitrine::kernels::cuda
