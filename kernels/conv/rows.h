// The gather convolution along rows: staged source, packed weights, and the register block of the matrix product. A
// tile is one group, a block of output rows (or whole images) and a block of output channels. Its phases run one after
// another over the same staged source. No two tiles write the same output.
#pragma once

#include "kernels/conv/gather.h"

namespace vitrine::kernels {
namespace {

template <class V, bool Forward>
struct RowConv : Gather<V, Forward> {
  using Base = Gather<V, Forward>;
  using Base::s, Base::images, Base::groups, Base::phases_h, Base::phases_w, Base::m, Base::channels, Base::out_h,
      Base::out_w, Base::src_h, Base::src_w, Base::block, Base::panels, Base::phase, Base::stage, Base::group_width,
      Base::weights_at;
  using typename Base::Args;
  using typename Base::Phase;
  static constexpr std::int64_t staged_floats = 48 * 1024,
                                staged_floats_of_few_rows = 96 * 1024;  ///< staged floats per tile, about; if few()
  static constexpr int ready_groups = 8;                                ///< column groups packed together

  std::int64_t images_per, image_blocks, rows_per, row_blocks, panels_per, panel_blocks;
  bool direct;    ///< vectors straight from the staged rows, without packing column panels
  bool unstaged;  ///< 1x1 and nothing substituted: columns are packed from the source itself

  static constexpr const char* name = "along rows";
  static const char* refuses(const Args& a) noexcept {
    return a.x_interleaved || a.y_interleaved ? reads_planar : nullptr;
  }

  explicit RowConv(const Args& a) : Base(a) {
    const std::int64_t taps =
        larger<std::int64_t>(1, ceil_div(s.kh, phases_h) * ceil_div(s.kw, phases_w));  // of most phases
    const std::int64_t phases = phases_h * phases_w, grid_h = ceil_div(out_h, phases_h),
                       grid_w = ceil_div(out_w, phases_w), grid = grid_h * grid_w;
    // Columns of few channels are packed as fast as they are multiplied.
    direct = rows_fill_vectors<V>(grid_w) && m <= (channels <= 4 ? 5 : 4) * Blocking<V>::max_rows && taps > 1;

    unstaged = s.kh == 1 && s.kw == 1 && s.h == 1 && s.oh == 1 && s.w == s.ow && s.pad_left == 0 && s.stride_w == 1 &&
               (!Forward || is_raw(a.x_sub));

    // Columns per tile: enough for about 2 Mflop, but no more than the cache holds when staged.
    const std::int64_t flops_per_column = 2 * m * channels * taps * phases;
    const std::int64_t wanted = larger<std::int64_t>(512, (1 << 21) / larger<std::int64_t>(1, flops_per_column));
    images_per = images_of(wanted, grid);
    rows_per = grid_h;
    if (images_per == 1) {
      rows_per = smaller(grid_h, larger<std::int64_t>(1, wanted / grid_w));
      while (rows_per > 1 &&
             block * stage_of_all(0, rows_per).plane > (this->few() ? staged_floats_of_few_rows : staged_floats))
        --rows_per;
      rows_per = ceil_div(grid_h, ceil_div(grid_h, rows_per));
    } else {
      const std::int64_t staged = larger<std::int64_t>(1, (src_h + s.kh) * (src_w + s.kw) * block);
      images_per = smaller(images_per, larger<std::int64_t>(1, staged_floats / staged));
    }
    image_blocks = ceil_div(images, images_per);
    row_blocks = ceil_div(grid_h, rows_per);

    // Output channels: the packed block of A stays in about half of L2; more blocks if the pixels alone give few tiles.
    // The blocks are of equal size: a small last block would pack all columns for a few panels.
    const std::int64_t packed = m * block * taps;
    panels_per = ceil_div(panels.count, larger<std::int64_t>(1, (packed + 64 * 1024) / (128 * 1024)));
    while (panels_per > 4 && base_tiles() * ceil_div(panels.count, panels_per) < 4 &&
           flops_per_column / panels.count * panels_per * images_per * rows_per * grid_w > (1 << 22)) {
      panels_per = ceil_div(panels_per, 2);
    }
    panel_blocks = ceil_div(panels.count, panels_per);
    panels_per = ceil_div(panels.count, panel_blocks);
  }

  std::int64_t images_of(std::int64_t wanted, std::int64_t grid) const {
    const std::int64_t n = smaller(images, larger<std::int64_t>(1, wanted / larger<std::int64_t>(1, grid)));
    // Several tiles even for a small batch of small images, but none narrower than a few column groups.
    return larger<std::int64_t>(smaller(n, ceil_div(96, grid)), smaller(n, ceil_div(images, 16)));
  }

  std::int64_t base_tiles() const { return groups * image_blocks * row_blocks; }

  /// The stage that holds what the taps of all phases read.
  Stage stage_of_all(std::int64_t r0, std::int64_t r1) const {
    Phase all = phase(0);
    for (std::int64_t i = 1; i < phases_h * phases_w; ++i) {
      const Phase p = phase(i);
      all.ty = union_of(all.ty, p.ty), all.tx = union_of(all.tx, p.tx);
    }
    return stage(all, r0, r1);
  }
  /// Two taps that span those of a and b.
  static Taps union_of(const Taps& a, const Taps& b) {
    if (a.count == 0 || b.count == 0) return a.count == 0 ? b : a;
    const std::int64_t low = smaller(a.lowest(), b.lowest());
    return {2, low, larger(a.highest(), b.highest()) - low};
  }

  /// Floats of a column group's panel, and what its last row may write beyond it.
  std::int64_t group_floats() const { return block * this->max_taps * group_width() + V::width; }

  struct Scratch {
    std::int64_t staged, panel, spill, offsets, total;
  };

  /// Floats of each part of the scratch.
  Scratch scratch() const {
    Scratch t{};
    const std::int64_t depth = block * this->max_taps;
    t.staged = unstaged ? 0 : images_per * block * stage_of_all(0, smaller(rows_per, ceil_div(out_h, phases_h))).plane;
    t.panel = direct ? 0 : (panels_per > 1 ? ready_groups : 1) * group_floats();
    t.staged = round_up(t.staged + group_width(), 16);
    t.panel = round_up(t.panel, 16);
    t.spill = round_up(Blocking<V>::max_rows * group_width(), 16);
    t.offsets = round_up(depth, 16);
    t.total = t.staged + t.panel + t.spill + t.offsets;
    return t;
  }

  Work work() const {
    return {base_tiles() * panel_blocks, this->weight_bytes(),
            static_cast<std::size_t>(scratch().total) * sizeof(float), this->parts()};
  }

  /// The tile, the block of the sum and the phase, for the loops over column groups.
  struct Columns {
    std::int64_t first_image, last_image, r0, r1;
    std::int64_t staged_image;  ///< staged elements from image to image
    std::int64_t out_image;     ///< output elements from image to image
    std::int64_t group, first_panel, last_panel;
    std::int64_t c0, c1;  ///< source channels
    const float* source;  ///< the first channel's first pixel
    float* out;
  };

  void run_tile(const Args& a, const float* weights, float* memory, std::int64_t index) const {
    Columns t{};
    t.first_panel = index % panel_blocks * panels_per;
    t.last_panel = smaller(panels.count, t.first_panel + panels_per);
    index /= panel_blocks;
    const std::int64_t row_block = index % row_blocks;
    index /= row_blocks;
    t.first_image = index % image_blocks * images_per;
    t.last_image = smaller(images, t.first_image + images_per);
    t.group = index / image_blocks;
    const std::int64_t r0 = row_block * rows_per, r1 = smaller(ceil_div(out_h, phases_h), r0 + rows_per);
    if (r0 >= r1) return;

    const Scratch part = scratch();
    float *staged = memory, *panel = staged + part.staged, *spill = panel + part.panel;
    auto* const offsets = reinterpret_cast<std::int32_t*>(spill + part.spill);
    const Stage st = stage_of_all(r0, r1);
    t.staged_image = unstaged ? groups * channels * src_w : block * st.plane;
    t.out_image = groups * m * out_h * out_w;
    const float* src = Forward ? a.x : a.y;
    t.out = (Forward ? a.y_out : a.x_out) + t.first_image * t.out_image + t.group * m * out_h * out_w;
    for (t.c0 = 0; t.c0 < channels; t.c0 = t.c1) {
      t.c1 = smaller(channels, t.c0 + block);
      for (std::int64_t i = t.first_image; i < t.last_image && !unstaged; ++i) {
        for (std::int64_t c = t.c0; c < t.c1; ++c) {
          st.template fill<V>(Forward ? a.x_sub : Substitute{},
                              src + ((i * groups + t.group) * channels + c) * src_h * src_w,
                              staged + (i - t.first_image) * t.staged_image + (c - t.c0) * st.plane);
        }
      }
      t.source = unstaged ? src + ((t.first_image * groups + t.group) * channels + t.c0) * src_w : staged;
      for (std::int64_t which = 0; which < phases_h * phases_w; ++which) {
        const Phase p = phase(which);
        t.r0 = r0, t.r1 = smaller(p.gh, r1);
        if (t.r0 < t.r1 && p.gw > 0)
          run_phase(a, p, st, t, weights + weights_at(which, t.group), panel, spill, offsets);
      }
    }
  }

  void run_phase(const Args& a, const Phase& p, Stage st, const Columns& t, const float* weights, float* panel,
                 float* spill, std::int32_t* offsets) const {
    const std::int64_t count_c = t.c1 - t.c0, k = count_c * p.ty.count * p.tx.count;
    const bool add = a.add || t.c0 > 0, with_bias = Forward && a.bias != nullptr && t.c0 == 0,
               relu = Forward && a.relu && t.c1 == channels;
    if (k == 0 && add && !with_bias && !relu) return;
    float bias[Blocking<V>::max_rows];
    if (unstaged) {
      for (std::int64_t c = 0; c < count_c; ++c) offsets[c] = static_cast<std::int32_t>(c * src_w);
    } else {
      st.ty = p.ty, st.tx = p.tx;
      this->fill_offsets(p, st, st.plane, count_c, 1, offsets);
    }
    // With several panels of rows, several column groups are packed together, so that each panel writes longer
    // stretches of its output rows.
    const int groups_at_once = t.last_panel - t.first_panel > 1 ? ready_groups : 1;
    Place at{t.first_image, t.r0, 0};
    while (at.image < t.last_image) {
      Group ready[ready_groups];
      int count = 0;
      for (; count < groups_at_once && at.image < t.last_image; ++count) {
        Group& g = ready[count];
        const std::int64_t columns = gather_runs(p, st, t, at, g.runs, g.count);
        g.to = target(p, g.runs, g.count, columns);
        g.panel = panel + count * group_floats();
        for (int v = 0; v < g.to.nv; ++v)
          g.from[v] = direct ? t.source + g.runs[smaller<std::int64_t>(v, g.count - 1)].src : g.panel + v * V::width;
      }
      if (!direct) pack_columns(t.source, offsets, k, ready, count, panel);
      for (std::int64_t q = t.first_panel; q < t.last_panel; ++q) {
        const int rows = panels.height(q);
        const std::int64_t row = panels.begin(q);
        for (int r = 0; r < rows && with_bias; ++r) bias[r] = substituted(a.bias_sub, a.bias[t.group * m + row + r]);
        const float* packed = weights + this->panel_at(p, q, t.c0);
        float* const base = t.out + row * out_h * out_w;
        for (int i = 0; i < count; ++i) {
          const Group& g = ready[i];
          const int nv = g.to.nv;
          if (nv == 0) continue;
          float* c[Blocking<V>::max_vectors];
          for (int v = 0; v < nv; ++v) c[v] = g.to.spilled ? spill + v * V::width : base + g.to.out[v];
          const std::int64_t ldc = g.to.spilled ? std::int64_t{nv} * V::width : out_h * out_w;
          const float* inner_bias = with_bias && !g.to.spilled ? bias : nullptr;
          const bool inner_add = add && !g.to.spilled, inner_relu = relu && !g.to.spilled;
          if (direct) {
            block_function<V, Indirect>(
                rows, nv)({k, packed, g.from, {offsets}, c, g.to.n, ldc, inner_bias, inner_add, inner_relu});
          } else {
            block_function<V, Strided>(
                rows, nv)({k, packed, g.from, {group_width()}, c, g.to.n, ldc, inner_bias, inner_add, inner_relu});
          }
          if (g.to.spilled)
            store_spilled(p, spill, ldc, rows, g.runs, g.count, base, with_bias ? bias : nullptr, add, relu);
        }
      }
      for (int i = 0; i < count; ++i) run_last_columns(a, p, t, weights, ready[i], k, with_bias, add, relu);
    }
  }

  /// The next column to handle.
  struct Place {
    std::int64_t image, row, col;
  };

  /// Collects the columns of the next group: one vector per run (direct), or runs packed one after another.
  std::int64_t gather_runs(const Phase& p, const Stage& st, const Columns& t, Place& at, PixelRun* runs,
                           std::int64_t& count) const {
    const std::int64_t width = group_width();
    std::int64_t used = 0;
    while (used < width && at.image < t.last_image) {
      const std::int64_t room = direct ? V::width : smaller<std::int64_t>(V::width, width - used);
      const std::int64_t len = smaller(room, p.gw - at.col), image = at.image - t.first_image;
      runs[count++] = {used, image * t.staged_image + st.row_offset(at.row - t.r0) + at.col,
                       image * t.out_image + (p.y0 + at.row * p.step_h) * out_w + p.x0 + at.col * p.step_w, len};
      used += direct ? V::width : len;
      at.col += len;
      if (at.col == p.gw) {
        at.col = 0;
        if (++at.row == t.r1) {
          at.row = t.r0;
          ++at.image;
        }
      }
    }
    return used;
  }

  /// Where a column group is stored: in the output, if each of its vectors is contiguous there; else in `spill` first.
  struct Target {
    bool spilled = false;
    int nv = 0, columns = 0;  ///< vectors, and single columns after them
    std::int64_t out[Blocking<V>::max_vectors] = {}, n[Blocking<V>::max_vectors] = {};
  };

  /// A column group, ready to be multiplied with all panels of rows.
  struct Group {
    PixelRun runs[Blocking<V>::max_vectors * V::width];
    std::int64_t count = 0;
    Target to;
    float* panel;
    const float* from[Blocking<V>::max_vectors];
  };

  Target target(const Phase& p, const PixelRun* runs, std::int64_t count, std::int64_t columns) const {
    Target t;
    t.nv = static_cast<int>(group_width() / V::width);
    if (columns <= V::width) t.nv = 1;
    t.spilled = p.step_w != 1;
    if (direct) {
      for (std::int64_t v = 0; v < t.nv; ++v) {
        t.out[v] = runs[smaller(v, count - 1)].out;
        t.n[v] = v < count ? runs[v].len : 0;
      }
    } else {
      for (std::int64_t i = 1; i < count; ++i)
        t.spilled = t.spilled || runs[i].out != runs[i - 1].out + runs[i - 1].len;
      for (std::int64_t v = 0; v < t.nv; ++v) {
        t.n[v] = larger<std::int64_t>(0, smaller<std::int64_t>(V::width, columns - v * V::width));
        t.out[v] = runs[0].out + (t.n[v] > 0 ? v * V::width : 0);
      }
    }
    if (t.spilled) {
      for (std::int64_t v = 0; v < t.nv; ++v) t.n[v] = V::width;
    } else if (const std::int64_t behind = columns % V::width;
               !direct && group_width() == 2 * V::width && behind <= Blocking<V>::max_columns) {
      t.nv = static_cast<int>(columns / V::width);
      t.columns = static_cast<int>(behind);
    }
    return t;
  }

  /// Fills panel[k][width] of each group with its columns, one source row for all groups before the next row. Whole
  /// vectors are moved: what one writes too far, the next run or row overwrites.
  void pack_columns(const float* source, const std::int32_t* offsets, std::int64_t k, const Group* some, int count,
                    float* panel) const {
    struct Move {
      std::int64_t from, to, len;
    } moves[ready_groups * Blocking<V>::max_vectors * V::width];
    int n = 0;
    for (int g = 0; g < count; ++g)
      for (std::int64_t r = 0; r < some[g].count; ++r)
        moves[n++] = {some[g].runs[r].src, g * group_floats() + some[g].runs[r].at, some[g].runs[r].len};
    const std::int64_t width = group_width();
    constexpr std::int64_t ahead = 6;  // rows to prefetch: planes are pages apart
    for (std::int64_t i = 0; i < k; ++i) {
      const float* const from = source + offsets[i];
      float* const to = panel + i * width;
      if (unstaged) {
        const float* const later = source + offsets[smaller(i + ahead, k - 1)];
        for (const Move *m = moves, *const end = moves + n; m != end; ++m) {
          __builtin_prefetch(later + m->from);
          // An unstaged source ends with its last pixel: nothing may be read beyond it.
          (m->len < V::width ? V::load_n(from + m->from, m->len) : V::load(from + m->from)).store(to + m->to);
        }
      } else {
        for (const Move *m = moves, *const end = moves + n; m != end; ++m) V::load(from + m->from).store(to + m->to);
      }
    }
  }

  /// The last C columns of a group, P panels at a time.
  template <int P, int C>
  void run_columns(const Args& a, const Phase& p, const Columns& t, const float* weights, const Group& g,
                   std::int64_t k, bool with_bias, bool add, bool relu) const {
    alignas(64) float sums[P][C][V::width];
    const std::int64_t plane = out_h * out_w, first = std::int64_t{g.to.nv} * V::width;
    for (std::int64_t q0 = t.first_panel; q0 < t.last_panel; q0 += P) {
      const float* packed[P];
      int rows[P];
      for (int i = 0; i < P; ++i) {
        const std::int64_t q = smaller(q0 + i, t.last_panel - 1);
        packed[i] = weights + this->panel_at(p, q, t.c0);
        rows[i] = panels.height(q);
      }
      multiply_columns<V, P, C>(k, packed, rows, g.panel + first, group_width(), sums);
      for (std::int64_t q = q0; q < smaller(q0 + P, t.last_panel); ++q) {
        for (int r = 0; r < panels.height(q); ++r) {
          const std::int64_t row = panels.begin(q) + r;
          float* const to = t.out + row * plane + g.runs[0].out + first;
          const float bias = with_bias ? substituted(a.bias_sub, a.bias[t.group * m + row]) : 0;
          for (int c = 0; c < C; ++c) {
            float y = sums[q - q0][c][r];
            if (with_bias) y += bias;
            if (add) y += to[c];
            to[c] = relu && y < 0 ? 0 : y;
          }
        }
      }
    }
  }

  /// The columns of a group after its last whole vector.
  VITRINE_INLINE void run_last_columns(const Args& a, const Phase& p, const Columns& t, const float* weights,
                                       const Group& g, std::int64_t k, bool with_bias, bool add, bool relu) const {
    switch (g.to.columns) {
      case 1:
        return run_columns<8, 1>(a, p, t, weights, g, k, with_bias, add, relu);
      case 2:
        return run_columns<4, 2>(a, p, t, weights, g, k, with_bias, add, relu);
      case 3:
        return run_columns<4, 3>(a, p, t, weights, g, k, with_bias, add, relu);
      case 4:
        return run_columns<4, 4>(a, p, t, weights, g, k, with_bias, add, relu);
      default:
        return;
    }
  }

  /// Stores a spilled group's `rows` rows, run by run.
  void store_spilled(const Phase& p, const float* spill, std::int64_t ld, int rows, const PixelRun* runs,
                     std::int64_t count, float* out, const float* bias, bool add, bool relu) const {
    for (int r = 0; r < rows; ++r, spill += ld, out += out_h * out_w) {
      const float b = bias ? bias[r] : 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const float* from = spill + runs[i].at;
        float* to = out + runs[i].out;
        if (p.step_w == 1) {
          stream<V>(runs[i].len, [&](std::int64_t j, auto step) {
            V v = load<V>(from + j, step);
            if (bias) v = v + V::set(b);
            store(v, to + j, add, relu, step);
          });
        } else {
          for (std::int64_t j = 0; j < runs[i].len; ++j, to += p.step_w) *to = add ? *to + from[j] : from[j];
        }
      }
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
