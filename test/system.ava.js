// System tests make namespaces and load the machine: one at a time, with time enough.
export default {
  files: ['dist/test/system/**/*.test.js'],
  concurrency: 1,
  serial: true,
  timeout: '10m',
};
