#!/usr/bin/env python3
"""The same items of work as vitrine-bench, done by PyTorch, ONNX Runtime, Captum and Zennit, answered in the same way.

bench_peer.py PEER THREADS WORK ARGUMENTS...     PEER: torch, torch-nhwc, onnxruntime, captum, zennit
"""
import json
import resource
import sys
import time


def lenet5(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)), (1, 28, 28)


def resnet20(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            self.conv1, self.bn1, self.relu1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()
            self.conv2, self.bn2, self.relu2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()
            self.extra = cout - cin
            self.stride = stride

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
            if self.extra or self.stride > 1:  # He et al. 2016, option A
                x = nn.functional.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.extra))
            return self.relu2(y + x)

    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    width = 16
    for stage in (16, 32, 64):
        for k in range(3):
            layers.append(Block(width, stage, 2 if k == 0 and stage > 16 else 1))
            width = stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), (3, 32, 32)


def network(torch, name):
    if name == 'lenet5':
        return lenet5(torch)
    if name == 'resnet20':
        return resnet20(torch)
    import torchvision
    return getattr(torchvision.models, name)(weights=None), (3, 224, 224)


def separate_relus(torch, net):
    """Captum's DeepLift wants a module for each use of an activation; torchvision's basic blocks use one twice."""
    from torchvision.models.resnet import BasicBlock

    def forward(block, x):
        y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
        return block.relu2(y + (x if block.downsample is None else block.downsample(x)))

    for m in net.modules():
        if isinstance(m, BasicBlock):
            m.relu2 = torch.nn.ReLU()
            m.forward = forward.__get__(m)


def conv(torch, layout, words):
    direction, *numbers = words
    n, c, h, w, oc, k, stride, padding = map(int, numbers)
    x = torch.randn(n, c, h, w).to(memory_format=layout)
    weight = (torch.randn(oc, c, k, k) * 0.1).to(memory_format=layout)
    with torch.no_grad():
        y = torch.nn.functional.conv2d(x, weight, stride=stride, padding=padding)
        if direction == 'forward':
            return lambda: torch.nn.functional.conv2d(x, weight, stride=stride, padding=padding)
        mask = (direction == 'backward-data', direction == 'backward-weights', False)
        return lambda: torch.ops.aten.convolution_backward(y, x, weight, None, (stride,) * 2, (padding,) * 2, (1, 1), False, (0, 0), 1, mask)


def by_torch(peer, threads, work, words):
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    layout = torch.channels_last if peer == 'torch-nhwc' else torch.contiguous_format
    if work == 'gemm':
        m, n, k = map(int, words)
        a, b = torch.randn(m, k), torch.randn(k, n)
        c = torch.empty(m, n)
        return lambda: torch.mm(a, b, out=c)
    if work == 'conv':
        return conv(torch, layout, words)
    net, shape = network(torch, words[0])
    net = net.to(memory_format=layout)
    batch = int(words[1])
    x = torch.randn(batch, *shape).to(memory_format=layout)
    if work == 'train':
        net.train()
        target = torch.arange(batch) % 10
        loss = torch.nn.CrossEntropyLoss()
        sgd = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, foreach=True)

        def step():
            sgd.zero_grad()
            loss(net(x), target).backward()
            sgd.step()
        return step
    net.eval()
    if work == 'infer':
        with torch.no_grad():
            traced = torch.jit.freeze(torch.jit.trace(net, x))
            traced = torch.jit.optimize_for_inference(traced) if peer == 'torch' else traced

        def run():
            with torch.no_grad():
                traced(x)
        return run
    method = words[2]
    settings = dict(w.split('=') for w in words[3:])

    def gradient(inputs=x):
        inputs = inputs.detach().requires_grad_(True)
        out = net(inputs)
        return torch.autograd.grad(out[:, 0].sum(), inputs)
    for p in net.parameters():
        p.requires_grad_(False)
    if method == 'gradient':
        return gradient
    if peer == 'zennit':
        from zennit.attribution import Gradient
        from zennit import composites
        from zennit.torchvision import ResNetCanonizer, VGGCanonizer
        canonizers = [ResNetCanonizer()] if 'resnet' in words[0] else [VGGCanonizer()]
        name = settings.get('composite', 'epsilon-plus-flat')
        make = {'epsilon-plus-flat': composites.EpsilonPlusFlat, 'epsilon-plus': composites.EpsilonPlus,
                'epsilon-alpha2-beta1': composites.EpsilonAlpha2Beta1, 'epsilon-alpha2-beta1-flat': composites.EpsilonAlpha2Beta1Flat}
        if name == 'epsilon-gamma-box':
            composite = composites.EpsilonGammaBox(low=-3.0, high=3.0, canonizers=canonizers)
        elif name == 'uniform-epsilon':
            from zennit.composites import LayerMapComposite
            from zennit.rules import Epsilon
            from zennit.types import Linear, Convolution
            composite = LayerMapComposite([(Convolution, Epsilon()), (Linear, Epsilon())], canonizers=canonizers)
        else:
            composite = make[name](canonizers=canonizers)
        # What it asks of a network is gradients of its parameters' uses, too.
        seed = torch.zeros(batch, 10 if words[0] in ('lenet5', 'resnet20') else 1000)
        seed[:, 0] = 1

        def lrp():
            with Gradient(model=net, composite=composite) as attributor:
                attributor(x, seed)
        return lrp
    from captum import attr
    if method == 'deeplift':
        separate_relus(torch, net)
        lift = attr.DeepLift(net)
        return lambda: lift.attribute(x, baselines=torch.zeros_like(x), target=0)
    if method == 'integrated-gradients':
        ig = attr.IntegratedGradients(net)
        steps = int(settings.get('steps', 50))
        return lambda: ig.attribute(x, target=0, n_steps=steps, internal_batch_size=int(settings.get('chunk', 16)))
    if method == 'smoothgrad':
        noisy = attr.NoiseTunnel(attr.Saliency(net))
        samples = int(settings.get('samples', 16))
        return lambda: noisy.attribute(x, nt_type='smoothgrad', nt_samples=samples, nt_samples_batch_size=16, target=0, abs=False)
    if method == 'occlusion':
        occlusion = attr.Occlusion(net)
        window, stride = int(settings['window']), int(settings['stride'])

        def occlude():
            with torch.no_grad():
                occlusion.attribute(x, sliding_window_shapes=(shape[0], window, window), strides=(shape[0], stride, stride), target=0, perturbations_per_eval=8)
        return occlude
    raise SystemExit(f'bench_peer: {peer} has no {work} {method}')


def by_onnxruntime(threads, words):
    import io

    import onnxruntime
    import torch
    net, shape = network(torch, words[0])
    x = torch.randn(int(words[1]), *shape)
    file = io.BytesIO()
    torch.onnx.export(net.eval(), (x,), file, input_names=['x'], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=['CPUExecutionProvider'])
    feed = {'x': x.numpy()}
    return lambda: session.run(None, feed)


def main():
    peer, threads, work, *words = sys.argv[1:]
    run = by_onnxruntime(int(threads), words) if peer == 'onnxruntime' else by_torch(peer, int(threads), work, words)
    print(json.dumps({'threads': int(threads)}), flush=True)
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        run()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        print(json.dumps({'seconds': seconds, 'cpu_seconds': cpu_seconds, 'peak_bytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


main()
