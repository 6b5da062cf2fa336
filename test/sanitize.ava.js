// The addon's tests under the address and undefined-behaviour sanitizers (npm run test:sanitize).
export default {
  files: ['dist/test/native/**/*.test.js'],
  concurrency: 1,
  timeout: '10m',
  workerThreads: false,
};
