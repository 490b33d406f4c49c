// cuDNN's graph API through the addon, without a GPU: heuristics and a plan for a convolution on a described H100. Where
// cuDNN is not installed the tests are skipped, unless DARKROOM_REQUIRE names cudnn.

import { delimiter } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DeviceError } from '@darkroom/core';
import { diagnose, explain, labelled, loadAddon } from './node/addon.ts';
import { cudnnCrossCorrelation, CudnnDescriptor, cudnnDataType, cudnnHeuristics } from './node/cudnn.ts';
import type { cudnnKind } from './node/cudnn.ts';
import { addonIsMissing, skip } from './node/testing.ts';

const sitePackages = (process.env['DARKROOM_SITE_PACKAGES'] ?? '').split(delimiter).filter(Boolean);
const report = addonIsMissing() ? undefined : diagnose({ sitePackages, emulator: false }).libraries.cudnn;
const missing = !report?.found && skip('cudnn', report ? explain('cudnn', report) : 'the addon is missing');

/** Numbers from data sheets; cuDNN wants every field. */
const h100 = {
  cudaDeviceId: 0,
  deviceName: 'NVIDIA H100',
  deviceVer: 900,
  driverVer: 13000,
  isTccDriver: 0,
  l2CacheSize: 50 << 20,
  maxCtasPerSM: 32,
  maxRegistersPerSM: 65536,
  maxSharedMemoryPerBlock: 48 << 10,
  maxSharedMemoryPerBlockOptin: 227 << 10,
  multiProcessorCount: 132,
  totalGlobalMem: 80 * 2 ** 30,
  maxThreadsPerBlock: 1024,
  maxThreadsPerSM: 2048,
  maxGridSize: [2 ** 31 - 1, 65535, 65535],
  maxBlockSize: [1024, 1024, 64],
  memClockRateKHz: 2619000,
  pciDeviceId: 0,
  regsPerBlock: 65536,
  reservedSharedMemoryPerBlock: 1024,
  smClockRateKHz: 1980000,
  supportCoopLaunch: 1,
  warpSize: 32,
};

describe.skipIf(missing)('cuDNN without a GPU', () => {
  const make = (kind: keyof typeof cudnnKind): CudnnDescriptor =>
    new CudnnDescriptor(loadAddon().cudnn, kind);
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
    const json = new TextEncoder().encode(JSON.stringify(h100));
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
