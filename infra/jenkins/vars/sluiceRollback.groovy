// Sends all traffic back on an agent. Put it behind no approval: a way back never needs one.
//
//   sluiceRollback model: 'whisper-grid', reason: 'answers are empty'
//
// Returns 'rolled-back'; ends the build for everything else.
def call(Map given) {
  def settings = [to: '', reason: '', workspace: '.', sluice: '.', environments: 'control serving'] + given
  if (!settings.model) {
    error 'sluiceRollback: which model? sluiceRollback model: NAME'
  }
  def report = 'build/sluice-rollback'
  def code = 2
  withEnv([
    "MODEL=${settings.model}",
    "TO=${settings.to}",
    "REASON=${settings.reason}",
    "SLUICE_WORKSPACE=${settings.workspace}",
    "SLUICE_ACTOR=jenkins:${env.JOB_NAME}",
    "SLUICE_CHECKOUT=${settings.sluice}",
    "SLUICE_ENVIRONMENTS=${settings.environments}",
    "REPORT=${report}"
  ]) {
    sh 'cd "$SLUICE_CHECKOUT" && python3.11 -m infra.environments $SLUICE_ENVIRONMENTS'
    code = sh(
      returnStatus: true,
      script: 'PATH="$SLUICE_CHECKOUT/.venv/bin:$PATH" bash "$SLUICE_CHECKOUT/infra/ci/rollback.sh"'
    )
  }
  archiveArtifacts artifacts: "${report}/**", allowEmptyArchive: true
  if (code == 3) {
    error 'not all traffic is back and a person is needed: `sluice status` says why'
  }
  if (code != 0) {
    error "the rollback could not be done (exit ${code}): wrong use or a broken engine"
  }
  return 'rolled-back'
}
