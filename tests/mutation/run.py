#!/usr/bin/env python3
"""Plants one fault at a time in a copy of the sources and asks whether some test notices.

    tests/mutation/run.py [--only NUMBER,...] [--texts]

A fault is a line of FAULTS: file, text, replacement, what it is. The copy is built once and then rebuilt for each fault; a
fault that no test catches, whose text is no longer there, or that does not compile is a failure of this script. --texts
looks for the texts alone, which takes no time.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

LRP, TABLE, DEEPLIFT, SIGNAL, COMPOSITE, COMPOSITES = (
    'interp/rules/' + f for f in ('lrp.cpp', 'lrp_table.cpp', 'deeplift.cpp', 'signal.cpp', 'composite.cpp', 'composite_table.h'))
FAULTS = [
    (TABLE, '.factor = -o.beta', '.factor = o.beta', 'alpha-beta: sign of the negative part'),
    (TABLE, '{negative, n}}, .factor = o.alpha};', '{negative, n}}};', 'alpha-beta: factor alpha dropped'),
    (TABLE, '{{positive, p, p}, {negative, n}}, .factor = o.alpha', '{{positive, p, p}}, .factor = o.alpha', 'alpha-beta: negative inputs forgotten'),
    (TABLE, '{{positive, n, n}, {negative, p}}', '{{positive, n, n}, {negative, n}}', 'alpha-beta: swapped weight sign'),
    (TABLE, '{.rows = {{positive, p, p}, {negative, n}}};', '{.rows = {{positive, p, p}, {negative, n, p}}};', 'z+: bias counted twice'),
    (TABLE, '{.rows = {{positive, p, p}, {negative, n}}};', '{.rows = {{positive, p}, {negative, n}}};', 'z+: bias missing'),
    (TABLE, '{{positive, up, up}, {negative, down}}', '{{positive, up, raw_part}, {negative, down}}', 'gamma: bias not favoured'),
    (TABLE, '{{positive, up, up}, {negative, down}}', '{{positive, up, up}, {negative, up}}', 'gamma: negative inputs with the wrong weights'),
    (TABLE, '.outputs = kernels::Sign::negative', '.outputs = kernels::Sign::positive', 'gamma: negative outputs treated as positive'),
    (LRP, 'real{-1}, bound.data', 'real{1}, bound.data', 'z-box: sign of the bounds'),
    (TABLE, '{LrpInput::above_high, n}', '{LrpInput::above_low, n}', 'z-box: low for high'),
    (TABLE, '{LrpInput::ones, squared, squared}', '{LrpInput::ones, raw_part, raw_part}', 'w-square: weights not squared'),
    (TABLE, '{LrpInput::ones, ones}', '{all, ones}', 'flat: input takes part'),
    (LRP, 'if (table.bias != BiasMode::dropped) return;', 'return;', 'dropped bias kept'),
    (LRP, 'a.written[i] = true;\n  }\n  return Status::ok;\n}\n\n/// R_i += factor', '}\n  return Status::ok;\n}\n\n/// R_i += factor', 'rows overwrite each other instead of adding'),
    (LRP, 'ctx->safe_divide(bias.data, taps.data, t.data, t.size(), false);', 'ctx->scale(real{1}, bias.data, t.data, t.size(), false);', 'shared bias not divided by the number of inputs'),
    (TABLE, 't.stabiliser.eps = 0;', 't.stabiliser.eps = 1;', 'LRP-0 with a guard'),
    (LRP, '&& !is_forward_output(table_.groups[0])', '', 'a table whose second group overwrites the output'),
    (COMPOSITES, '{.first = true, .rule = LrpKind::flat},', '', 'composite: first layer forgotten'),
    (COMPOSITE, 'if (spec.given & LrpGiven::alpha_beta) o.alpha = own.alpha, o.beta = own.beta;', '', 'composite: settings of an entry forgotten'),
    (COMPOSITE, '(e.nodes == nullptr || matches(e.nodes, node.name)) &&', '', 'composite: names of nodes not looked at'),
    (COMPOSITE, "values[node.out] = all && static_cast<const AffineOp&>(*node.op).weights() == Weights::fixed;", 'values[node.out] = all;', 'a convolution of non-negative inputs taken for non-negative'),
    (SIGNAL, 'kind_ == kernels::Rectify::guided ? s.io.out.data : signal', 'signal', 'guided backprop without the input mask'),
    (DEEPLIFT, '{mass.images(n, together), true}', '{mass.images(n, together), false}', 'pool: the reference winner overwrites'),
    (DEEPLIFT, 'VITRINE_TRY(op.scatter(ctx, ref, to_reference.images', 'VITRINE_TRY(op.scatter(ctx, io, to_reference.images', 'pool: wrong winner'),
    (DEEPLIFT, 'ctx->combine(real{0.5}, minus.data, real{-0.5}, ref.out.data, dq, n);', 'ctx->combine(real{0.5}, plus.data, real{-0.5}, ref.out.data, dq, n);', 'RevealCancel: swapped order'),
    (DEEPLIFT, 'VITRINE_TRY(op.apply_t(ctx, s.io, negative_part, s.s_out[1], k, {same, true}));', 'VITRINE_TRY(op.apply_t(ctx, s.io, negative_part, s.s_out[0], k, {same, true}));', 'linear rule: positive multiplier for negative weights'),
    (DEEPLIFT, 'VITRINE_TRY(op.slope(ctx, ref, ref.in[0], ref.out, one, {slope, false}));\n  for_each_repeat', 'ctx->fill(real{0}, slope.data, slope.size());\n  for_each_repeat', 'Rescale: no derivative where the difference vanishes'),
    ('layers/pool.cpp', 'ctx->max_pool_scatter(p, s.data + out, switches + out, d.data + in, d.add);', 'ctx->max_pool_scatter(p, s.data + out, switches + out, d.data + in, false);', 'a pool that overwrites'),
    ('layers/convolution.cpp', '  a.w_sub = w_sub;\n', '', 'transposed convolution with the raw weights'),
    ('layers/linear.cpp', 'a.b_sub = row.w;', '', 'linear layer with the raw weights'),
    ('layers/view.cpp', 'copy_part(ctx, joint, {d_in[k]}, s, d_in[k].add)', 'copy_part(ctx, joint, {d_in[k]}, s, false)', 'concat: fan-out overwritten'),
    (LRP, 'if (op.gate() != static_cast<int>(k)) VITRINE_TRY', 'if (true) VITRINE_TRY', 'product: the gate gets relevance, too'),
    (LRP, 'else if (!d.add) ctx->fill(real{0}, d.data, d.size());', '', 'product: the relevance of the gate is not cleared'),
    (LRP, 'ctx->scale(real{0.5}, s.s_out[0].data, part.data', 'ctx->scale(real{1}, s.s_out[0].data, part.data', 'product: both signals take all'),
    (COMPOSITES, '.ops = "normaliser|activation"', '.ops = "activation"', 'excitation backprop: norm rule at a batch norm that stands alone'),
    (DEEPLIFT, 'ctx->combine(real{0.5}, other.data + b, real{0.5}, other0.data', 'ctx->combine(real{1}, other.data + b, real{0}, other0.data', 'product: multiplier at the actual run alone'),
    ('interp/rules/repeat.h', 'body(begin, at, next - begin);', 'body(begin, 0, next - begin);', 'one reference: each stretch takes its beginning'),
    ('core/plan/lifetimes.cpp', 'return q_.one_reference ? plan_.end : node(i).walk_at;', 'return node(i).walk_at;', 'one reference: its values do not last'),
    ('interp/runs/walk.cpp', 'at_baseline->data + (options_.one_reference ? 0 : n * each)', 'at_baseline->data', 'baseline scores of the first image for all'),
    (DEEPLIFT, 'if (any_sign) VITRINE_TRY(op.apply(ctx, io, part, {raw_part, negative_part, nothing}, {positive, true}));', '', 'RevealCancel: a negative factor does not swap the parts'),
    (DEEPLIFT, 'VITRINE_TRY(op.apply_t(ctx, s.io, negative_part, s.s_out[1 - c], 0, more));', 'VITRINE_TRY(op.apply_t(ctx, s.io, negative_part, s.s_out[c], 0, more));', 'RevealCancel: a negative factor does not swap the multipliers'),
    ('kernels/norm/ref.h', '(v - v0) / dq', '-beta * std::pow(middle, -beta - 1)', 'LRN: the derivative in the place of the multiplier'),
    ('kernels/norm/ref.h', 'const double mean_dy = a.constant ? 0 : sum / count', 'const double mean_dy = a.constant ? 0 : 0 * sum / count', 'batch norm: the mean is taken for a constant'),
    ('layers/diagonal.cpp', 'coefficients(ctx, io, w, nothing, scale.data, nullptr);', 'coefficients(ctx, io, raw_part, nothing, scale.data, nullptr);', 'batch norm: the way back with the raw factor'),
    ('layers/view.cpp', 'a.dst_stride[k] = there ? own[k] : dense[d[k]];', 'a.dst_stride[k] = there ? own[k] : dense[k];', 'transpose: the way back without a permutation'),
    ('models/merge.cpp', 'for (std::size_t c = 0; c < channels; ++c) bias[c] = scale[c] * bias[c] + shift[c];', 'for (std::size_t c = 0; c < channels; ++c) bias[c] = bias[c] + shift[c];', 'merge: the bias keeps its scale'),
    ('models/onnx/import_layers.cpp', 'for (float& v : w) v *= alpha;', '(void)alpha;', 'ONNX: Gemm without alpha'),
    ('models/onnx/import_layers.cpp', 'op->count_padding = node.integer("count_include_pad", 0) != 0;', 'op->count_padding = true;', 'ONNX: padding counted in averages'),
    ('layers/add.cpp', 'z.add || k > 0', 'z.add', 'sum: terms overwrite each other'),
    ('core/walk.cpp', 'sink = {signal(v, channel), add};', 'sink = {signal(v, channel), false};', 'fan-out does not add up'),
    ('core/plan/reads.cpp', 'r.walk = std::min(r.walk, i);', '', 'plan: inputs that a rule needs are not kept'),
    ('core/plan/lifetimes.cpp', '&& !read_later(r, i);', ';', 'plan: a sum takes the memory of a residual that is read later'),
    ('core/plan/epilogue.cpp', 'if (producer != no_id && producer > i) return;', '', 'plan: a sum is done before its other term is there'),
    ('core/plan/segments.cpp', '|| segment_of(d.plan, d.reads[v].forward) != s) continue;', ') continue;', 'plan: what later segments read is dropped'),
    ('layers/batch_norm.cpp', 'if (ctx.recomputing) a.momentum = 0;', '', 'batch norm: running statistics move twice'),
    ('core/op.cpp', 'if (residual && residual.data != io.out.data)', 'if (false)', 'convolution: a residual that is elsewhere is not added'),
    ('models/train/optimizer.cpp', 'if (begin >= from && begin < to)', 'if (begin >= from)', 'optimiser: what is frozen moves within the walk'),
    ('layers/view.cpp', 'dense[] = {s.pixels() * own, s.w() * own, own, own > 1 ? 1 : s.per_image()}', 'dense[] = {s.pixels() * own, s.w() * own, own, 1}', 'views: planar taken for interleaved'),
    ('kernels/conv/winograd_batch.h', '(Forward ? k : kernel_h - 1 - k) * Kernel', 'k * Kernel', 'Winograd, interleaved: kernel rows not turned on the way back'),
    ('kernels/conv/winograd_batch.h', 'sums[1] = sums[1] + bias;', 'sums[0] = sums[0] + bias;', 'Winograd, interleaved: the bias in one result of four'),
    ('layers/batch_norm.cpp', 'a.relu = io.epilogue.relu;', '', 'batch norm: its ReLU is left out in training'),
    ('core/layout.cpp', 'a.src_stride[3] = into ? size : block;', 'a.src_stride[3] = size;', 'flatten: images taken in another order'),
    ('core/plan/layout.cpp', 'if (!all && (takes == Layouts::same || takes == Layouts::follows)) make_planar(node.out);', '', 'plan: a result interleaved, its terms planar'),
    ('core/planner.cpp', 'if (readers > 1)', 'if (readers > 2)', 'plan: an updater with tied weights'),
    ('core/plan/reads.cpp', 'if (plan.folded_relu != no_id) need.out = true;', '', 'plan: what a pool needs to do a ReLU\'s step is not kept'),
    ('core/plan/elide.cpp', 'if (readers.count != 1 || pool.op', 'if (pool.op', 'plan: a ReLU that others read is folded into a pool'),
    ('core/plan/outputs.cpp', ' || !d.flags[v]) continue;', ') continue;', 'plan: a ReLU\'s result read as that of the layer before it, where relevance arrives at what was cut'),
    ('core/plan/reuse.cpp', ' || pinned_[node.out]) return;', ') return;', 'plan: a norm works in the place of a signal that the identity needs'),
    ('core/plan/reuse.cpp', ' && d_.plan.nodes[g_.values[late].producer].folded_relu == no_id;', ';', 'plan: a pool masks a signal that the identity needs'),
    ('core/plan/reuse.cpp', ' && (!alone || writers(early).second_in_walk < made_at(late))) {', ') {', 'plan: a reader adds to a signal that the other term has not read'),
    ('core/plan/reach.cpp', ' || made_watched(v);', ';', 'plan: the signal of a watched node is skipped, shared or interleaved'),
    ('core/plan/outputs.cpp', '!d.seeded(v) && !d.made_watched(v);', '!d.seeded(v);', 'plan: a signal that an observer may add to is taken for zero'),
    ('core/plan/epilogue.cpp', 'if (j == no_id || d.plan.nodes[j].watched) return;', 'if (j == no_id) return;', 'plan: a watched node is fused'),
    ('core/plan/layout.cpp', 'if (d_.plan.nodes[i].watched) return Layouts::planar;', '', 'plan: a watched node reads an interleaved map'),
    ('interp/rules/lrp.cpp', 'if (idle && (g == 1 || output_multiple(a.op) == 0)) return Status::ok;', 'if (idle) return Status::ok;', 'gamma: the second group takes denominators that nobody made'),
    (TABLE, 't.output_multiple = 2 + o.gamma;', 't.output_multiple = 1 + o.gamma;', 'gamma: the wrong multiple of the forward output'),
    ('kernels/conv/difference.h', '* largest)).count() > 0;', '* largest)).count() > V::width;', 'difference: small sums are not made directly'),
    ('kernels/conv/difference.h', 'if (!a.add) difference.y[r].store_n', 'difference.y[r].store_n', 'difference: a second call writes over what the first summed'),
    ('interp/rules/lrp.cpp', 'std::int32_t block = io.out.block;', 'std::int32_t block = 1;', 'LRP: what is the same for all images, for fewer than are stored interleaved'),
    ('kernels/conv/rows.h', 'if (add) y += to[c];', 'if (add && c > 0) y += to[c];', 'convolution: single columns forget earlier blocks of the sum'),
    ('kernels/conv/rows.h', 'first = std::int64_t{g.to.nv} * V::width;', 'first = 0;', 'convolution: single columns written where vectors go'),
    ('interp/runs/batch_size.cpp', 'f.prepare = plan.prepared_bytes <= large;', 'f.prepare = plan.prepared_bytes > 0;', 'weights of any size are kept for a batch'),
    ('layers/linear.cpp', 'bias ? &io.par[1] : nullptr, row, z, relu)', 'bias ? &io.par[1] : nullptr, Row{row.x, raw_part, row.bias}, z, relu)', 'linear layer across images with the raw weights'),
    ('kernels/conv/weight_products.h', 'if (a.y_interleaved) {', 'if (false) {', 'weight gradient of a linear layer: interleaved taken for planar'),
    ('kernels/conv/batch.h', 'sum.group = rows, sum.group_skip = (p.ty.count - rows) * p.tx.count;', 'sum.group = rows;', 'convolution: taps of a corner from the wrong channel'),
    ('kernels/explain/generic.h', 'sign == Sign::positive ? o > V::zero() : o < V::zero(), v, V::zero()', 'sign == Sign::positive ? o < V::zero() : o > V::zero(), v, V::zero()', 'LRP: a group is left out by the other sign'),
    ('interp/runs/batch_size.cpp', 'f.prepare = prepared + each <= budget &&', 'f.prepare =', 'prepared weights exceed the memory budget'),
    ('kernels/conv/batch.h', 'out_interleaved && Forward && a.relu && c1 == channels', 'false', 'convolution: its ReLU is left out if interleaved'),
    ('interp/runs/windows.cpp', 'const std::int32_t lead = (f.before + f.step - 1) / f.step;', 'const std::int32_t lead = 0;', 'occlusion: crops without margins'),
    ('interp/math/quadrature.cpp', "/ (n - 1));", '/ n);', 'quadrature: trapezoid weights do not sum to 1'),
    ('interp/predict/grad_cam.cpp', '/ static_cast<double>(gradient.size())', '', 'Grad-CAM: sum of gradients for their mean'),
    ('interp/predict/occlusion.cpp', 'sum[p] / count[p]', 'sum[p]', 'occlusion: overlaps not averaged'),
    ('layers/pool.cpp', 'if (switches == nullptr || ctx.training) return', 'return', 'max pool: rounding chooses among equal places'),
    ('kernels/pool/ties.h', 'for (std::int64_t c = 1; c < channels && ties.count() > 0; ++c)', 'for (std::int64_t c = 1; c < 1; ++c)', 'max pool: places tie by their first channel'),
    ('interp/runs/objective.cpp', 'one_logit ? Weight{0, c == 1 ? factor : -factor} : Weight{c, factor}', 'one_logit ? Weight{0, factor} : Weight{c, factor}', 'one logit: the negative class has the score of the positive'),
    ('models/output.cpp', 'scores == Scores::none ||', 'scores != Scores::probabilities ||', 'the probability behind a final sigmoid is explained'),
    ('interp/runs/activation_map.cpp', 'for (double& v : map) v = std::max(v, 0.0);', ';', 'activation maps: negative values stay'),
    ('interp/predict/score_cam.cpp', 'v = (v - low) / range;', 'v = v / range;', 'Score-CAM: masks that do not begin at 0'),
    ('core/host/io/picture_check.cpp', 'taken = 2 * taken + count;', 'taken = count;', 'JPEG: codes of a table are not added up'),
    ('core/host/utf8.cpp', 'const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0), malformed', 'const bool control = c >= 0x7f && c < 0xa0, malformed', 'names: control characters reach the terminal'),
    ('interp/predict/shapley.cpp', 'std::lgamma(m - s)', 'std::lgamma(m - s + 1.0)', 'Shapley: weight of a subset'),
    ('interp/predict/kernel_shap.cpp', 'share[i] /= 1 - share[k];', ';', 'KernelSHAP: samples of later sizes do not grow'),
    ('interp/predict/sampling_shapley.cpp', 'std::reverse(order.begin(), order.end());', ';', 'sampled Shapley values: no antithetic walk'),
    ('interp/math/least_squares.cpp', 'level - mean.dot(b)', 'level', 'least squares: the intercept of centred columns'),
    ('interp/perturb/features.cpp', 'sum[s] / count[s]', 'sum[s]', 'segment means: sums'),
]
TESTS = ['tests/laws', 'tests/laws_double', 'tests/host', 'tests/kernels/kernels_selfcheck']


def squeezed(text):
    """The text without white space, and where each of its characters stands in `text`: layout is the formatter's."""
    places = [i for i, c in enumerate(text) if not c.isspace()]
    return ''.join(text[i] for i in places), places


def find(text, old):
    """Where `old` stands in `text`, white space apart: begin and end, or None."""
    packed, places = squeezed(text)
    wanted, _ = squeezed(old)
    at = packed.find(wanted)
    return None if at < 0 else (places[at], places[at + len(wanted) - 1] + 1)


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--only')
    parser.add_argument('--texts', action='store_true')
    arguments = parser.parse_args()
    chosen = [int(n) for n in arguments.only.split(',')] if arguments.only else range(1, len(FAULTS) + 1)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    lost = [f'{path}: the text of "{what}" is not there' for path, old, _, what in FAULTS if not find(open(os.path.join(root, path)).read(), old)]
    if lost or arguments.texts:
        sys.exit('\n'.join(lost) or 0)
    folder = tempfile.mkdtemp(prefix='vitrine-mutation-')
    source, build = folder + '/source', folder + '/build'
    shutil.copytree(root, source, ignore=shutil.ignore_patterns('.git', 'build*'))
    if run(['meson', 'setup', build, source, '-Doptimization=1', '-Ddebug=false', '-Db_ndebug=true', '-Dcuda=disabled']).returncode:
        sys.exit('the copy cannot be configured')
    if run(['ninja', '-C', build] + TESTS).returncode:
        sys.exit('the copy cannot be built')
    missed = 0
    for number, (path, old, new, what) in enumerate(FAULTS, 1):
        if number not in chosen:
            continue
        full = os.path.join(source, path)
        text = open(full).read()
        with open(full, 'w') as f:
            begin, end = find(text, old)
            f.write(text[:begin] + new + text[end:])
        caught = ''
        built = run(['ninja', '-C', build] + TESTS)
        if built.returncode:
            print(f'{number:3} BROKEN  {what}: does not compile\n' + built.stdout[-400:])
            missed += 1
        else:
            for test in TESTS:
                try:
                    result = run([os.path.join(build, test), '--abort-after=1'], cwd=build, timeout=900)
                except subprocess.TimeoutExpired:
                    caught = f'{os.path.basename(test)}: does not end'
                    break
                if result.returncode:
                    names = [line[len('TEST CASE:  '):] for line in result.stdout.splitlines() if line.startswith('TEST CASE:')]
                    caught = f'{os.path.basename(test)}: {names[0] if names else "crash"}'
                    break
            print(f'{number:3} {"caught " if caught else "MISSED "} {what}' + (f'  [{caught}]' if caught else ''), flush=True)
            missed += not caught
        with open(full, 'w') as f:
            f.write(text)
    print(f'{len(chosen) - missed} caught, {missed} missed')
    shutil.rmtree(folder)
    sys.exit(missed > 0)


if __name__ == '__main__':
    main()
