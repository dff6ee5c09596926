// Promotes a release on an agent and waits for the end of its rollout. Ask a person first with `input`,
// outside of `node`, where no agent is held.
//
//   sluicePromote model: 'whisper-grid', variant: 'openvino-int8', reason: "build ${env.BUILD_NUMBER}"
//
// Returns 'promoted'; ends the build for everything else. A build that is stopped pauses its rollout.
def call(Map given) {
  def settings = [
    release: '', variant: '', reason: '', waitMinutes: 0, workspace: '.', sluice: '.', environments: 'control serving'
  ] + given
  if (!settings.model) {
    error 'sluicePromote: which model? sluicePromote model: NAME'
  }
  def report = 'build/sluice-promote'
  def code = 2
  withEnv([
    "MODEL=${settings.model}",
    "RELEASE=${settings.release}",
    "VARIANT=${settings.variant}",
    "REASON=${settings.reason}",
    "WAIT_MINUTES=${settings.waitMinutes}",
    "SLUICE_WORKSPACE=${settings.workspace}",
    "SLUICE_ACTOR=jenkins:${env.JOB_NAME}",
    "SLUICE_CHECKOUT=${settings.sluice}",
    "SLUICE_ENVIRONMENTS=${settings.environments}",
    "REPORT=${report}"
  ]) {
    sh 'cd "$SLUICE_CHECKOUT" && python3.11 -m infra.environments $SLUICE_ENVIRONMENTS'
    try {
      code = sh(
        returnStatus: true,
        script: 'PATH="$SLUICE_CHECKOUT/.venv/bin:$PATH" bash "$SLUICE_CHECKOUT/infra/ci/promote.sh"'
      )
    } catch (org.jenkinsci.plugins.workflow.steps.FlowInterruptedException stopped) {
      sh(
        returnStatus: true,
        script: 'PATH="$SLUICE_CHECKOUT/.venv/bin:$PATH" sluice pause --reason "the build was stopped" -- "$MODEL"'
      )
      throw stopped
    }
  }
  archiveArtifacts artifacts: "${report}/**", allowEmptyArchive: true
  switch (code) {
    case 0:
      return 'promoted'
    case 1:
      error 'the rollout was turned back: the summary says by what evidence'
      break
    case 3:
      error 'the rollout stands and a person is needed: `sluice status` says why'
      break
    default:
      error "the promotion could not be done (exit ${code}): wrong use or a broken engine"
  }
}
