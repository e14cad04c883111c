#!/usr/bin/env python3
"""Activation maps beside those of pytorch-grad-cam, on a planted network with a pool, so that maps are enlarged.

    tests/compare/activation_maps.py PROGRAM

PROGRAM is `vitrine`. Needs torch, onnx, numpy and grad-cam (1.5.7 is what the README's figures are from). Prints, per
method, the largest difference of three images' maps before any scaling, as a part of the map's largest value. Score-CAM
differs by how masks are enlarged (pytorch-grad-cam aligns corners); Eigen-CAM's component is known up to its sign, of
which the nearer is taken.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytorch_grad_cam as peer
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

SIDE, TARGET = 16, 2
METHODS = {
    'grad-cam': peer.GradCAM,
    'grad-cam-plus-plus': peer.GradCAMPlusPlus,
    'xgrad-cam': peer.XGradCAM,
    'hires-cam': peer.HiResCAM,
    'layer-cam': peer.LayerCAM,
    'score-cam': peer.ScoreCAM,
    'ablation-cam': peer.AblationCAM,
    'eigen-cam': peer.EigenCAM,
}


def network():
    torch.manual_seed(3)
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)).eval()


def theirs(method, net, x):
    """The maps at the last ReLU, before the cut at 0 and the enlargement."""
    with METHODS[method](model=net, target_layers=[net[4]]) as cam:
        targets = [ClassifierOutputTarget(TARGET)] * len(x)
        outputs = cam.activations_and_grads(x)
        if cam.uses_gradients:
            net.zero_grad()
            sum(t(o) for t, o in zip(targets, outputs)).backward(retain_graph=True)
        read = lambda tensors: tensors[0].detach().numpy() if tensors else None
        return np.asarray(cam.get_cam_image(x, cam.target_layers[0], targets, read(cam.activations_and_grads.activations),
                                            read(cam.activations_and_grads.gradients), False))


def enlarged(maps):
    cut = torch.tensor(np.maximum(maps, 0))[:, None].double()
    return torch.nn.functional.interpolate(cut, (SIDE, SIDE), mode='bilinear', align_corners=False)[:, 0].numpy()


def main():
    program, net = os.path.abspath(sys.argv[1]), network()
    x = torch.randn(3, 3, SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        torch.onnx.export(net, x[:1], 'net.onnx', dynamo=False)
        np.save('x.npy', x.numpy())
        for method in METHODS:
            subprocess.run([program, 'explain', 'net.onnx', '--input', 'x.npy', '--method', method, '--target', str(TARGET), '--output', 'r.npy'],
                           check=True, capture_output=True)
            ours, maps = np.load('r.npy')[:, 0], theirs(method, net, x)
            signs = (1, -1) if method == 'eigen-cam' else (1,)
            worst = 0
            for n in range(len(x)):
                apart = min(np.abs(ours[n] - enlarged(s * maps)[n]).max() for s in signs)
                worst = max(worst, apart / np.abs(ours[n]).max())
            print(f'{method:20} {worst:.1e}')
        os.chdir('/')


if __name__ == '__main__':
    main()
