// The PTX interpreter: what kernels compute, and every kind of fault that it promises to find. The kernels are written
// by hand, so that the test runs without nvcc; what nvcc emits is run by device.py.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "kernels/cuda/emulator/device_memory.h"
#include "kernels/cuda/emulator/ptx.h"

using namespace vitrine::ptx;

namespace {

// Device memory with what is put in; freed at the end.
struct Buffer {
  explicit Buffer(std::size_t bytes) : address(DeviceMemory::instance().allocate(bytes)), size(bytes) {}
  template <class T>
  explicit Buffer(const std::vector<T>& v) : Buffer(v.size() * sizeof(T)) {
    std::memcpy(DeviceMemory::instance().raw(address), v.data(), size);
    DeviceMemory::instance().mark(address, size, initialised);
  }
  ~Buffer() { DeviceMemory::instance().release(address); }
  Buffer(const Buffer&) = delete;
  template <class T>
  std::vector<T> read() const {
    std::vector<T> v(size / sizeof(T));
    std::memcpy(v.data(), DeviceMemory::instance().raw(address), size);
    return v;
  }
  std::uint64_t address;
  std::size_t size;
};

// A kernel of pointers a (in) and b (out), with thread number %r1, its place in a as %rd3 and in b as %rd4 (4 bytes a
// thread).
std::string kernel(const std::string& body, const std::string& before = "") {
  return ".version 8.0\n.target sm_80\n.address_size 64\n" + before +
         "\n.visible .entry k(.param .u64 k_param_0, .param .u64 k_param_1)\n{\n.reg .pred %p<8>;\n.reg .b16 "
         "%rs<8>;\n.reg .b32 %r<40>;\n.reg .f32 %f<40>;\n.reg .b64 %rd<20>;\n.reg .f64 %fd<8>;\n"
         "ld.param.u64 %rd1, [k_param_0];\nld.param.u64 %rd2, [k_param_1];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd5, "
         "%r1, 4;\nadd.s64 %rd3, %rd1, %rd5;\nadd.s64 %rd4, %rd2, %rd5;\n" +
         body + "\nret;\n}\n";
}

void run(const std::string& text, const Buffer& a, const Buffer& b, unsigned threads, const Options& o = {},
         std::size_t shared = 0, unsigned blocks = 1) {
  Module m(text, "test.ptx");
  std::uint64_t pa = a.address, pb = b.address;
  void* arguments[] = {&pa, &pb};
  m.launch(*m.find("k"), {blocks, 1, 1}, {threads, 1, 1}, shared, arguments, o);
}

std::string fault_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

#define CHECK_SAYS(text, ...)                                \
  {                                                          \
    const std::string said = fault_of([&] { __VA_ARGS__; }); \
    INFO(said);                                              \
    CHECK(said.find(text) != std::string::npos);             \
  }

std::vector<float> ramp(int n) {
  std::vector<float> v;
  for (int i = 0; i < n; ++i) v.push_back(static_cast<float>(i) + 0.5f);
  return v;
}

const std::string load = "ld.global.f32 %f1, [%rd3];\n", store = "\nst.global.f32 [%rd4], %f2;";

}  // namespace

TEST_CASE("arithmetic, branches, predicates") {
  const Buffer a(ramp(70)), b(70 * 4);
  // Odd threads take one way, even ones another; both meet again.
  run(kernel(load +
             "and.b32 %r2, %r1, 1;\nsetp.eq.s32 %p1, %r2, 1;\n@%p1 bra ODD;\nadd.f32 %f2, %f1, %f1;\nbra.uni "
             "END;\nODD:\nfma.rn.f32 %f2, %f1, 0f40400000, 0f3F800000;\nEND:\n" +
             store),
      a, b, 70);
  const auto out = b.read<float>();
  for (int i = 0; i < 70; ++i)
    CHECK(out[static_cast<std::size_t>(i)] == (i % 2 == 1 ? 3 * (i + 0.5f) + 1 : 2 * (i + 0.5f)));
  // A loop whose length differs from lane to lane.
  run(kernel(load +
             "mov.f32 %f2, 0f00000000;\nmov.u32 %r3, 0;\nLOOP:\nsetp.ge.u32 %p1, %r3, %r1;\n@%p1 bra DONE;\nadd.f32 "
             "%f2, %f2, %f1;\nadd.s32 %r3, %r3, 1;\nbra.uni LOOP;\nDONE:\n" +
             store),
      a, b, 70);
  const auto sums = b.read<float>();
  for (int i = 0; i < 70; ++i) CHECK(sums[static_cast<std::size_t>(i)] == static_cast<float>(i) * (i + 0.5f));
}

TEST_CASE("conversions, roundings, bits") {
  const Buffer a(std::vector<float>{1.5f, -2.5f, 1e10f, NAN, 0.1f, 65519.0f, 1e-8f, -0.0f}), b(8 * 4);
  const auto each = [&](const std::string& body) {
    run(kernel(load + body), a, b, 8);
    return b.read<std::int32_t>();
  };
  const std::string put = "\nst.global.u32 [%rd4], %r2;";
  CHECK(each("cvt.rni.s32.f32 %r2, %f1;" + put) == std::vector<std::int32_t>{2, -2, 2147483647, 0, 0, 65519, 0, 0});
  CHECK(each("cvt.rzi.u32.f32 %r2, %f1;" + put) == std::vector<std::int32_t>{1, 0, -1, 0, 0, 65519, 0, 0});
  CHECK(each("cvt.rn.f16.f32 %rs1, %f1;\ncvt.u32.u16 %r2, %rs1;" + put) ==
        std::vector<std::int32_t>{0x3e00, 0xc100, 0x7c00, 0x7fff, 0x2e66, 0x7bff, 0, 0x8000});
  CHECK(each("cvt.rn.bf16.f32 %rs1, %f1;\ncvt.u32.u16 %r2, %rs1;" + put) ==
        std::vector<std::int32_t>{0x3fc0, 0xc020, 0x5015, 0x7fff, 0x3dcd, 0x4780, 0x322c, 0x8000});
  // 0.1 + 0.2 up and down differ by one unit.
  run(kernel("mov.f32 %f3, 0f3DCCCCCD;\nadd.rp.f32 %f2, %f3, 0f3E4CCCCD;\nst.global.f32 [%rd4], %f2;\nadd.rm.f32 %f4, "
             "%f3, 0f3E4CCCCD;\nst.global.f32 [%rd4+4], %f4;"),
      a, b, 1);
  const auto bits = b.read<std::int32_t>();
  CHECK(bits[0] == bits[1] + 1);
  CHECK(each("mov.u32 %r3, 0x12345678;\nprmt.b32 %r2, %r3, 0, 0x0123;" + put)[0] == 0x78563412);
  CHECK(each("mov.u32 %r3, 0xF0;\nmov.u32 %r4, 0xCC;\nlop3.b32 %r2, %r3, %r4, 0xAA, 0xE2;" + put)[0] == 0xE2);
  CHECK(each("mov.u32 %r3, 0xABCD;\nbfe.u32 %r2, %r3, 4, 8;" + put)[0] == 0xBC);
  CHECK(each("mov.u32 %r3, 0x80000001;\nmov.u32 %r4, 1;\nshf.l.wrap.b32 %r2, %r3, %r4, 4;" + put)[0] == 0x18);
}

TEST_CASE("vectors, constants, local memory, functions, tables of branches") {
  const Buffer a(ramp(128)), b(32 * 4);
  run(kernel("mul.wide.u32 %rd6, %r1, 16;\nadd.s64 %rd6, %rd1, %rd6;\nld.global.v4.f32 {%f1, %f2, %f3, %f4}, "
             "[%rd6];\nadd.f32 %f1, %f1, %f4;\nmov.u64 %rd7, table;\nand.b32 %r2, %r1, 1;\nmul.wide.u32 %rd8, %r2, 4;\n"
             "add.s64 %rd7, %rd7, %rd8;\nld.const.f32 %f5, [%rd7];\nmul.f32 %f2, %f1, %f5;" +
                 store,
             ".const .align 4 .b8 table[8] = {0, 0, 128, 63, 0, 0, 0, 64};\n"),
      a, b, 32);
  auto out = b.read<float>();
  for (int i = 0; i < 32; ++i) CHECK(out[static_cast<std::size_t>(i)] == (8.0f * i + 4) * (i % 2 == 0 ? 1 : 2));
  run(kernel(".local .align 4 .b8 depot[8];\nmov.u64 %rd6, depot;\n" + load +
             "st.local.f32 [%rd6], %f1;\nst.local.f32 [%rd6+4], 0f40000000;\nand.b32 %r2, %r1, 1;\nmul.wide.u32 %rd8, "
             "%r2, 4;\nadd.s64 %rd6, %rd6, %rd8;\n"
             "ld.local.f32 %f2, [%rd6];" +
             store),
      a, b, 32);
  out = b.read<float>();
  for (int i = 0; i < 32; ++i) CHECK(out[static_cast<std::size_t>(i)] == (i % 2 == 0 ? i + 0.5f : 2));
  // Called by some lanes only.
  run(kernel(load +
                 "mov.f32 %f2, %f1;\nsetp.lt.u32 %p1, %r1, 7;\n@!%p1 bra SKIP;\n{\n.param .b32 param0;\nst.param.f32 "
                 "[param0+0], %f1;\n.param .b32 retval0;\ncall.uni (retval0), twice, (param0);\nld.param.f32 %f2, "
                 "[retval0+0];\n}\nSKIP:" +
                 store,
             ".func (.param .b32 r) twice(.param .b32 x)\n{\n.reg .f32 %f<3>;\nld.param.f32 %f1, [x];\nadd.f32 %f2, "
             "%f1, %f1;\nst.param.f32 [r+0], %f2;\nret;\n}\n"),
      a, b, 32);
  out = b.read<float>();
  for (int i = 0; i < 32; ++i) CHECK(out[static_cast<std::size_t>(i)] == (i + 0.5f) * (i < 7 ? 2 : 1));
  run(kernel(
          "rem.u32 %r2, %r1, 3;\nLIST: .branchtargets A, B, C;\nbrx.idx %r2, LIST;\nA:\nmov.f32 %f2, "
          "0f3F800000;\nbra.uni END;\nB:\nmov.f32 %f2, 0f40000000;\nbra.uni END;\nC:\nmov.f32 %f2, 0f40400000;\nEND:" +
          store),
      a, b, 32);
  out = b.read<float>();
  for (int i = 0; i < 32; ++i) CHECK(out[static_cast<std::size_t>(i)] == static_cast<float>(i % 3 + 1));
}

TEST_CASE("shared memory, barriers, shuffles, atomics, in both orders") {
  const Buffer a(ramp(256)), b(256 * 4);
  const std::string shared =
      ".shared .align 4 .b8 tile[1024];\nmov.u32 %r2, tile;\nshl.b32 %r3, %r1, 2;\nadd.s32 %r4, %r2, %r3;\n";
  // Each thread reads what the thread 128 further on wrote.
  const std::string text = kernel(load + shared +
                                  "st.shared.f32 [%r4], %f1;\nbar.sync 0;\nxor.b32 %r5, %r3, 512;\nadd.s32 %r5, %r2, "
                                  "%r5;\nld.shared.f32 %f2, [%r5];" +
                                  store);
  for (const Order order : {Order::fair, Order::greedy}) {
    run(text, a, b, 256, {order});
    const auto out = b.read<float>();
    for (int i = 0; i < 256; ++i) CHECK(out[static_cast<std::size_t>(i)] == (i ^ 128) + 0.5f);
  }
  run(kernel(load +
             "mov.b32 %r2, %f1;\nmov.u32 %r6, 16;\nLOOP:\nshfl.sync.bfly.b32 %r3|%p1, %r2, %r6, 31, -1;\nmov.b32 %f3, "
             "%r2;\nmov.b32 %f4, %r3;\nadd.f32 %f3, %f3, %f4;\nmov.b32 %r2, %f3;\nshr.u32 %r6, %r6, 1;\nsetp.ne.s32 "
             "%p2, %r6, 0;\n"
             "@%p2 bra LOOP;\nmov.b32 %f2, %r2;" +
             store),
      a, b, 64);
  const auto sums = b.read<float>();
  CHECK(sums[5] == 512.0f);
  CHECK(sums[40] == 1536.0f);
  const Buffer counter(std::vector<std::int32_t>{0});
  run(kernel("atom.global.add.u32 %r2, [%rd2], 2;"), a, counter, 200, {Order::greedy}, 0, 3);
  CHECK(counter.read<std::int32_t>()[0] == 1200);
  run(kernel(
          "and.b32 %r2, %r1, 7;\nsetp.eq.s32 %p1, %r2, 3;\nbar.red.popc.u32 %r3, 0, %p1;\nst.global.u32 [%rd4], %r3;"),
      a, b, 256);
  CHECK(b.read<std::int32_t>()[77] == 32);
  run(kernel("setp.lt.u32 %p1, %r1, 3;\nvote.sync.ballot.b32 %r3, %p1, -1;\nst.global.u32 [%rd4], %r3;"), a, b, 32);
  CHECK(b.read<std::int32_t>()[31] == 7);
}

TEST_CASE("matrix instructions") {
  // D = A B + C in bf16, fragments by ldmatrix; then again in tf32.
  std::vector<std::uint16_t> a16(256), b16(128);
  std::vector<float> fa(256), fb(128);
  for (std::size_t i = 0; i < 256; ++i) fa[i] = static_cast<float>(static_cast<int>(i * 37 % 11) - 5);
  for (std::size_t i = 0; i < 128; ++i) fb[i] = static_cast<float>(static_cast<int>(i * 29 % 7) - 3);
  const auto upper = [](float f) {
    std::uint32_t u;
    std::memcpy(&u, &f, 4);
    return static_cast<std::uint16_t>(u >> 16);
  };
  for (std::size_t i = 0; i < 256; ++i) a16[i] = upper(fa[i]);
  for (std::size_t n = 0; n < 8; ++n)
    for (std::size_t k = 0; k < 16; ++k) b16[n * 16 + k] = upper(fb[k * 8 + n]);
  std::vector<std::uint16_t> both(a16);
  both.insert(both.end(), b16.begin(), b16.end());
  const Buffer in(both), out(32 * 4 * 4);
  // 768 bytes to shared memory, by 24 bytes a thread.
  std::string body = ".shared .align 16 .b8 s[768];\nmov.u32 %r2, s;\n";
  for (int k = 0; k < 6; ++k)
    body += "ld.global.u32 %r3, [%rd3+" + std::to_string(128 * k) +
            "];\nshl.b32 %r4, %r1, 2;\nadd.s32 %r4, %r4, %r2;\nst.shared.u32 [%r4+" + std::to_string(128 * k) +
            "], %r3;\n";
  body +=
      "bar.sync 0;\nand.b32 %r5, %r1, 15;\nshl.b32 %r5, %r5, 5;\nshr.u32 %r6, %r1, 4;\nshl.b32 %r6, %r6, 4;\nadd.s32 "
      "%r5, %r5, %r6;\nadd.s32 %r5, %r5, %r2;\n"
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r5];\n"
      "and.b32 %r7, %r1, 7;\nshl.b32 %r7, %r7, 5;\nshr.u32 %r8, %r1, 3;\nand.b32 %r8, %r8, 1;\nshl.b32 %r8, %r8, "
      "4;\nadd.s32 %r7, %r7, %r8;\nadd.s32 %r7, %r7, %r2;\n"
      "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r14, %r15}, [%r7+512];\nmov.f32 %f1, 0f3F800000;\n"
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, {%r10, %r11, %r12, %r13}, {%r14, "
      "%r15}, {%f1, %f1, %f1, %f1};\n"
      "mul.wide.u32 %rd6, %r1, 16;\nadd.s64 %rd6, %rd2, %rd6;\nst.global.v4.f32 [%rd6], {%f2, %f3, %f4, %f5};";
  run(kernel(body), in, out, 32);
  const auto d = out.read<float>();
  for (std::size_t l = 0; l < 32; ++l)
    for (std::size_t r = 0; r < 4; ++r) {
      const std::size_t row = l / 4 + 8 * (r / 2), column = 2 * (l % 4) + r % 2;
      float sum = 1;
      for (std::size_t k = 0; k < 16; ++k) sum += fa[row * 16 + k] * fb[k * 8 + column];
      CHECK(d[4 * l + r] == sum);
    }
}

TEST_CASE("accesses outside, misaligned, of memory that nobody wrote") {
  const Buffer a(ramp(32)), b(32 * 4);
  CHECK_SAYS("thread (32,0,0)", run(kernel(load + "mov.f32 %f2, %f1;" + store), a, b, 33));
  CHECK_SAYS("0 bytes past the end of an allocation of 128 bytes",
             run(kernel(load + "mov.f32 %f2, %f1;" + store), a, b, 33));
  CHECK_SAYS("line 19 of test.ptx: ld.global.f32", run(kernel(load + "mov.f32 %f2, %f1;" + store), a, b, 33));
  CHECK_SAYS("misaligned", run(kernel("ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1+4];"), a, b, 1));
  const Buffer fresh(128);
  CHECK_SAYS("which nobody has written", run(kernel(load), fresh, b, 1));
  CHECK_SAYS("which nobody has written",
             run(kernel(".shared .align 4 .b8 s[64];\nmov.u32 %r2, s;\nld.shared.f32 %f1, [%r2+60];"), a, b, 1));
  CHECK_SAYS("shared memory at 0x50, out of bounds",
             run(kernel(".shared .align 4 .b8 s[64];\nmov.u32 %r2, s;\nst.shared.f32 [%r2+64], 0f00000000;"), a, b, 1));
  float host = 0;
  std::uint64_t ph = reinterpret_cast<std::uint64_t>(&host);
  Module m(kernel(load), "test.ptx");
  void* arguments[] = {&ph, &ph};
  CHECK_SAYS("a host pointer?", m.launch(*m.find("k"), {}, {}, 0, arguments, {}));
}

TEST_CASE("barriers that not all reach, deadlocks, shuffles from outside") {
  const Buffer a(ramp(64)), b(64 * 4);
  const std::string odd = "and.b32 %r2, %r1, 1;\nsetp.eq.s32 %p1, %r2, 1;\n";
  CHECK_SAYS("have exited", run(kernel("setp.gt.u32 %p1, %r1, 40;\n@%p1 ret;\nbar.sync 0;"), a, b, 64));
  CHECK_SAYS("others wait at another",
             run(kernel(odd + "@%p1 bra ODD;\nbar.sync 0;\nbra.uni END;\nODD:\nbar.sync 0;\nEND:"), a, b, 64));
  CHECK_SAYS(
      "no thread can go on",
      run(kernel("setp.lt.u32 %p1, %r1, 32;\n@%p1 bar.sync 0, 64;\nsetp.ge.u32 %p2, %r1, 32;\n@%p2 bar.sync 1, 64;"), a,
          b, 64));
  CHECK_SAYS("lane 1 skips", run(kernel(odd + "@!%p1 shfl.sync.down.b32 %r3|%p2, %r2, 1, 31, -1;"), a, b, 32));
  CHECK_SAYS("whose mask does not name it", run(kernel("shfl.sync.down.b32 %r3|%p2, %r1, 1, 31, 15;"), a, b, 32));
  CHECK_SAYS("shuffles from lane 8, which takes no part",
             run(kernel("setp.lt.u32 %p1, %r1, 8;\n@!%p1 bra END;\nshfl.sync.down.b32 %r3|%p2, %r1, 1, 31, 255;\nEND:"),
                 a, b, 32));
  CHECK_SAYS("does not end", run(kernel("LOOP:\nbra.uni LOOP;"), a, b, 32, {Order::fair, 1, false, 100000}));
  CHECK_SAYS("runs into a trap", run(kernel("trap;"), a, b, 1));
}

TEST_CASE("asynchronous copies are there only after their wait") {
  const Buffer a(ramp(32)), b(32 * 4);
  const std::string copy =
                        ".shared .align 16 .b8 s[128];\nmov.u32 %r2, s;\nshl.b32 %r3, %r1, 2;\nadd.s32 %r3, %r3, "
                        "%r2;\ncp.async.ca.shared.global [%r3], [%rd3], 4;\ncp.async.commit_group;\n",
                    read = "ld.shared.f32 %f2, [%r3];" + store;
  run(kernel(copy + "cp.async.wait_group 0;\n" + read), a, b, 32);
  CHECK(b.read<float>()[7] == 7.5f);
  CHECK_SAYS("has not been waited for",
             run(kernel(copy + "cp.async.wait_group 1;\n" + read + "\ncp.async.wait_all;"), a, b, 32));
  CHECK_SAYS("ends with an asynchronous copy", run(kernel(copy), a, b, 32));
  // With a size of 0 the destination is zero, and nothing is read.
  run(kernel(".shared .align 16 .b8 s[128];\nmov.u32 %r2, s;\nmov.u64 %rd7, 0;\nmov.u32 %r4, "
             "0;\ncp.async.ca.shared.global [%r2], [%rd7], 4, %r4;\ncp.async.wait_all;\nld.shared.f32 %f2, [%r2];" +
             store),
      a, b, 1);
  CHECK(b.read<float>()[0] == 0);
}

TEST_CASE("a greedy order shows a missing barrier that turns hide") {
  // A pipeline of two stages without the barrier that keeps a fast warp from overwriting what a slow one still reads.
  const Buffer a(ramp(64)), b(64 * 4);
  const std::string body =
      ".shared .align 4 .b8 s[256];\nmov.u32 %r2, s;\nshl.b32 %r3, %r1, 2;\nadd.s32 %r4, %r3, %r2;\nxor.b32 %r5, %r3, "
      "128;\nadd.s32 %r5, %r5, %r2;\nmov.u32 %r6, 0;\nmov.f32 %f2, 0f00000000;\nLOOP:\n"
      "cvt.rn.f32.u32 %f3, %r6;\nst.shared.f32 [%r4], %f3;\nbar.sync 0;\nld.shared.f32 %f4, [%r5];\nsub.f32 %f4, %f4, "
      "%f3;\nabs.f32 %f4, %f4;\nadd.f32 %f2, %f2, %f4;\n";
  const std::string end = "add.s32 %r6, %r6, 1;\nsetp.lt.u32 %p1, %r6, 20;\n@%p1 bra LOOP;\n" + store;
  const auto error = [&](const std::string& between, Order order) {
    run(kernel(body + between + end), a, b, 64, {order, 3});
    float worst = 0;
    for (const float v : b.read<float>()) worst = std::max(worst, v);
    return worst;
  };
  CHECK(error("bar.sync 0;\n", Order::fair) == 0);
  CHECK(error("bar.sync 0;\n", Order::greedy) == 0);
  CHECK(error("", Order::greedy) > 0);
}

TEST_CASE("what is not known is said when the module is loaded") {
  CHECK_SAYS("has the instruction 'wgmma.fence.sync.aligned', which this interpreter does not know",
             Module(kernel("wgmma.fence.sync.aligned;"), "test.ptx"));
  CHECK_SAYS("test.ptx:19", Module(kernel("dp4a.u32.u32 %r1, %r2, %r3, %r4;"), "test.ptx"));
  CHECK_SAYS("branches to 'NOWHERE', which is no label", Module(kernel("bra NOWHERE;"), "test.ptx"));
  CHECK_SAYS("'%q1', which is not declared", Module(kernel("mov.u32 %q1, 1;"), "test.ptx"));
  CHECK_SAYS("another width", Module(kernel("add.f32 %f1, %f2, %rd1;"), "test.ptx"));
  const Buffer a(ramp(1)), b(4);
  CHECK_SAYS("at most 1024", run(kernel(""), a, b, 1025));
  CHECK_SAYS("more than 227 KiB", run(kernel(""), a, b, 1, {}, 230 << 10));
}

TEST_CASE("approximate instructions can be moved within their error") {
  const Buffer a(ramp(256)), b(256 * 4);
  const std::string text = kernel(load + "rsqrt.approx.f32 %f2, %f1;" + store);
  run(text, a, b, 256);
  const auto plain = b.read<float>();
  run(text, a, b, 256, {Order::fair, 1, true});
  const auto moved = b.read<float>();
  int different = 0;
  for (std::size_t i = 0; i < 256; ++i) {
    different += plain[i] != moved[i];
    CHECK(std::abs(moved[i] - plain[i]) <= plain[i] * 3e-7f);
  }
  CHECK(different > 100);
}
