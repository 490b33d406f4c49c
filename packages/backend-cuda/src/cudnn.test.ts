// cuDNN's graph API through the addon, without a GPU: heuristics and a plan for a convolution on a described H100. Where
// cuDNN is not installed the tests are skipped, unless DARKROOM_REQUIRE names cudnn.

import { describe, expect, test } from 'vitest';
import { DeviceError } from '@darkroom/core';
import { cudnnIsMissing, deviceProperties } from './libraries/cudnn-testing.ts';
import { labelled, loadAddon } from './node/addon.ts';
import { cudnnCrossCorrelation, CudnnDescriptor, cudnnDataType, cudnnHeuristics } from './node/cudnn.ts';
import type { CudnnKind } from './node/cudnn.ts';

const missing = cudnnIsMissing();

describe.skipIf(missing)('cuDNN without a GPU', () => {
  const make = (kind: CudnnKind): CudnnDescriptor => new CudnnDescriptor(loadAddon().cudnn, kind);
  const channelsLast = (
    id: number,
    [n, c, h, w]: readonly [number, number, number, number],
  ): CudnnDescriptor =>
    make('tensor')
      .set('tensorDataType', 'dataType', cudnnDataType.float16)
      .set('tensorDimensions', 'int64', n, c, h, w)
      .set('tensorStrides', 'int64', h * w * c, 1, w * c, c)
      .set('tensorUniqueId', 'int64', id)
      .set('tensorByteAlignment', 'int64', 16)
      .finalize();

  test('finds engines for a convolution and makes a plan', () => {
    const convolution = make('convolution')
      .set('convolutionSpatialDims', 'int64', 2)
      .set('convolutionCompType', 'dataType', cudnnDataType.float32)
      .set('convolutionConvMode', 'convolutionMode', cudnnCrossCorrelation)
      .set('convolutionPrePaddings', 'int64', 1, 1)
      .set('convolutionPostPaddings', 'int64', 1, 1)
      .set('convolutionDilations', 'int64', 1, 1)
      .set('convolutionFilterStrides', 'int64', 1, 1)
      .finalize();
    const operation = make('operationConvolutionForward')
      .set('operationConvolutionForwardX', 'backendDescriptor', channelsLast(1, [2, 320, 64, 64]))
      .set('operationConvolutionForwardW', 'backendDescriptor', channelsLast(2, [320, 320, 3, 3]))
      .set('operationConvolutionForwardY', 'backendDescriptor', channelsLast(3, [2, 320, 64, 64]))
      .set('operationConvolutionForwardConvDesc', 'backendDescriptor', convolution)
      .set('operationConvolutionForwardAlpha', 'float', 1)
      .set('operationConvolutionForwardBeta', 'float', 0)
      .finalize();
    const graph = make('operationgraph').set('operationgraphOps', 'backendDescriptor', operation).finalize();
    const json = new TextEncoder().encode(deviceProperties('sm_90'));
    const device = make('deviceprop')
      .set('devicepropJsonRepresentation', 'char', ...json)
      .finalize();
    const heuristics = make('engineheur')
      .set('engineheurOperationGraph', 'backendDescriptor', graph)
      .set('engineheurMode', 'heurMode', cudnnHeuristics.a)
      .set('engineheurDeviceprop', 'backendDescriptor', device)
      .finalize();
    expect(heuristics.count('engineheurResults', 'backendDescriptor')).toBeGreaterThan(5);
    const found = heuristics.fill('engineheurResults', [make('enginecfg')]);
    expect(found.length).toBe(1);
    const plan = make('executionPlan')
      .set('executionPlanEngineConfig', 'backendDescriptor', found[0]!)
      .set('executionPlanDeviceprop', 'backendDescriptor', device)
      .finalize();
    expect(plan.get('executionPlanWorkspaceSize', 'int64')[0]).toBeGreaterThanOrEqual(0);
    for (const done of [plan, ...found, heuristics, device, graph]) done[Symbol.dispose]();
  });

  test('a refused descriptor is an error with the call, the code and the text', () => {
    const open = (): unknown => labelled('conv2d/cudnn', () => make('tensor').finalize());
    expect(open).toThrow(DeviceError);
    expect(open).toThrow(
      /^cuda: conv2d\/cudnn: libcudnn: cudnnBackendFinalize failed with \d+: CUDNN_STATUS_BAD_PARAM/,
    );
  });
});
